"""What the server adds to its back end's own time: an endpoint that takes 0.5–1.5 s, asked directly and through the server, 64 at once.

    python benchmarks/serve/latency.py --json -

Every query is new, so nothing is answered from memory. The endpoint's time is a function of the query: clients do not run in lockstep, and
each search is compared with the same one asked directly. Clients begin one after the other; the first search of each is left out.
Must: p50 < 3 ms, p99 < 15 ms more than the endpoint itself; aim 1 and 5 ms.
"""

from __future__ import annotations

import asyncio
import sys

from load import HERE, Reply, closed_loop, cpu_seconds, options, percentile, post, process, report, serve


def main() -> None:
    args = options(__doc__ or "", requests=640, clients=64, think_ms=1000.0, rounds=3)
    seconds: dict[str, list[float]] = {"direct": [], "served": []}
    cpu: list[float] = []
    endpoint = process(str(HERE / "backend.py"), str(args.think_ms / 1000), "0")
    with endpoint as (_, behind), serve("--simulator", f"http://127.0.0.1:{behind}/v1") as (pid, port):
        for turn in range(args.rounds + 1):
            queries = [f"query {turn} {i}" for i in range(args.requests if turn else args.clients)]
            direct = [post("/v1/chat/completions", _completion(query)) for query in queries]
            served = [post("/serper/search", {"q": query, "num": 5}) for query in queries]
            for name, at, requests in (("direct", behind, direct), ("served", port, served)):
                taken = [0.0] * len(requests)

                def keep(i: int, reply: Reply, taken: list[float] = taken) -> None:
                    assert reply.status == 200
                    taken[i] = reply.seconds

                before = cpu_seconds(pid)
                asyncio.run(closed_loop(at, requests, args.clients, keep, ramp_s=args.think_ms / 500))
                seconds[name] += taken[args.clients :] if turn else []
                cpu += [cpu_seconds(pid) - before] if turn and name == "served" else []
    more = [1000 * (served - direct) for served, direct in zip(seconds["served"], seconds["direct"], strict=True)]
    added = {"added_p50_ms": percentile(more, 0.5), "added_p99_ms": percentile(more, 0.99)}
    ms = {name: {"p50": 1000 * percentile(values, 0.5), "p99": 1000 * percentile(values, 0.99)} for name, values in seconds.items()}
    added["cpu_ms_per_search"] = 1000 * sum(cpu) / (args.rounds * args.requests)
    work = {"clients": args.clients, "requests": args.requests, "rounds": args.rounds}
    report({"benchmark": "serve/latency", **added, "must_ms": {"p50": 3, "p99": 15}, "ms": ms, **work}, args.json)
    sys.exit(0 if added["added_p50_ms"] < 3 and added["added_p99_ms"] < 15 else 1)


def _completion(query: str) -> dict[str, object]:
    """About as long as the server's own request."""
    return {"model": "stand-in", "max_tokens": 600, "messages": [{"role": "user", "content": f"{'x' * 1500}\nQuery: {query}"}]}


if __name__ == "__main__":
    main()
