"""A run whose every text is markup."""

import gzip
import json
from pathlib import Path
from typing import Any, cast

ATTACK = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


def with_attack(value: Any) -> Any:
    """The same value with every key and every text replaced by an attack, as far as the page needs no word of it."""
    if isinstance(value, dict):
        keep = {"kind", "phase", "author", "quality"}
        items = cast(dict[str, Any], value).items()
        return {k: v if k in keep else with_attack(v) for k, v in items} | {f"extra{ATTACK}": 1.5}
    if isinstance(value, list):
        return [with_attack(v) for v in cast(list[Any], value)]
    return ATTACK + value if isinstance(value, str) else value


def attacked(run_dir: Path) -> None:
    """Rewrite every file of a run."""
    for name in ("summary.json", "card.json", "study.json"):
        if (run_dir / name).exists():
            (run_dir / name).write_text(json.dumps(with_attack(json.loads((run_dir / name).read_text()))))
    (run_dir / "config.toml").write_text(f"[engine]\nmodel = '''{ATTACK}'''\n")
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    (run_dir / "metrics.jsonl").write_text("\n".join(json.dumps(with_attack(json.loads(line))) for line in lines) + "\n")
    with gzip.open(run_dir / "trajectories.jsonl.gz", "rt") as file:
        records = [with_attack(json.loads(line)) for line in file]
    (run_dir / "trajectories.jsonl.gz").write_bytes(gzip.compress("".join(json.dumps(r) + "\n" for r in records).encode()))
