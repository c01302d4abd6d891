"""What the server adds to its back end's own time: an endpoint that takes 200 ms, asked directly and through the server, 64 at once.

    python benchmarks/serve/latency.py --json -

Every query is new, so nothing is answered from memory. Must: p50 < 3 ms, p99 < 15 ms more than the endpoint itself; aim 1 and 5 ms.
"""

from __future__ import annotations

import asyncio
import sys

from load import HERE, closed_loop, options, percentile, post, process, report, serve


def main() -> None:
    args = options(__doc__ or "", requests=2_000, clients=64, think_ms=200.0, rounds=3)
    seconds: dict[str, list[float]] = {"direct": [], "served": []}
    with (
        process(str(HERE / "backend.py"), str(args.think_ms / 1000), "0") as (_, behind),
        serve("--simulator", f"http://127.0.0.1:{behind}/v1") as (_, port),
    ):
        for turn in range(args.rounds + 1):
            names = [f"query {turn} {i}" for i in range(args.requests if turn else args.clients)]
            body = {"model": "stand-in", "max_tokens": 600}
            direct = [
                post("/v1/chat/completions", {**body, "messages": [{"role": "user", "content": f"{'x' * 1500}\nQuery: {q}"}]})
                for q in names
            ]
            served = [post("/serper/search", {"q": query, "num": 5}) for query in names]
            for name, at, requests in (("direct", behind, direct), ("served", port, served)):
                taken: list[float] = []
                asyncio.run(
                    closed_loop(
                        at,
                        requests,
                        args.clients,
                        lambda i, reply, taken=taken: taken.append(reply.seconds if reply.status == 200 else 1e9),
                    )
                )
                seconds[name] += taken if turn else []
    at = {f"p{int(share * 100)}": {name: 1000 * percentile(values, share) for name, values in seconds.items()} for share in (0.5, 0.99)}
    added = {f"added_{name}_ms": row["served"] - row["direct"] for name, row in at.items()}
    report(
        {
            "benchmark": "serve/latency",
            **added,
            "must_ms": {"p50": 3, "p99": 15},
            "ms": at,
            "clients": args.clients,
            "requests": args.requests,
        },
        args.json,
    )
    sys.exit(0 if added["added_p50_ms"] < 3 and added["added_p99_ms"] < 15 else 1)


if __name__ == "__main__":
    main()
