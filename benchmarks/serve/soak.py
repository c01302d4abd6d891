"""256 clients, 100,000 searches, and a back end with 6% faulty replies: nothing wrong, nothing lost, memory flat.

    python benchmarks/serve/soak.py --json -

Every query is new and every document must hold it: a reply that holds another's is wrong. A search that fails after its attempts is an
error in its dialect, and counted; a request without a reply is lost. Memory is compared at 30% and at the end.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter

from load import HERE, Reply, closed_loop, options, post, process, report, resident_mb, serve


def main() -> None:
    args = options(__doc__ or "", requests=100_000, clients=256, think_ms=20.0, faults=0.06)
    requests = [post("/serper/search", {"q": f"needle {i} end", "num": 5}) for i in range(args.requests)]
    statuses: Counter[int] = Counter()
    wrong: list[int] = []
    memory: dict[str, float] = {}
    with (
        process(str(HERE / "backend.py"), str(args.think_ms / 1000), str(args.faults)) as (_, behind),
        serve("--simulator", f"http://127.0.0.1:{behind}/v1", "--noise", "0.3") as (pid, port),
    ):

        def on_reply(i: int, reply: Reply) -> None:
            statuses[reply.status] += 1
            body = json.loads(reply.body)
            if reply.status == 200:
                snippets = [hit["snippet"] for hit in body["organic"]]
                if len(snippets) != 5 or not all(snippet.startswith(f"needle {i} end ") for snippet in snippets):
                    wrong.append(i)
            elif body["statusCode"] != reply.status or "message" not in body:
                wrong.append(i)
            done = statuses.total()
            if done in (int(0.3 * args.requests), args.requests):
                memory["end" if done == args.requests else "at_30_percent"] = resident_mb(pid)

        seconds = asyncio.run(closed_loop(port, requests, args.clients, on_reply))
    lost = args.requests - statuses.total()
    growth = memory["end"] / memory["at_30_percent"] - 1
    result = {"benchmark": "serve/soak", "requests": args.requests, "clients": args.clients, "wrong": len(wrong), "lost": lost}
    result |= {"statuses": {str(status): n for status, n in sorted(statuses.items())}, "resident_mb": memory, "growth": growth}
    report(result | {"requests_per_second": args.requests / seconds, "seconds": seconds}, args.json)
    sys.exit(0 if not wrong and not lost and abs(growth) < 0.05 else 1)


if __name__ == "__main__":
    main()
