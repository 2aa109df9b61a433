"""Made-up results of many models, for the tables, the figures and the page: nothing in them was measured.

They have what real ones have: oracles, a null row, models with one seed, metrics that do not apply to a dataset, a
model that failed on one, models without latents or without a forecast, a score without an interval.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import norm

from nlbflow.boards.tables import (
    COMPARISONS,
    comparison_table,
    cost_table,
    neuron_table,
    note_table,
    score_table,
    summary_table,
)
from nlbflow.metrics.formulas import LOWER_IS_BETTER, METRICS

# (worst, best) value of each benchmark metric that applies, and the held-out neurons
DATASETS = {
    "mc_maze": ({"co-bps": (0.2, 0.38), "vel R2": (0.55, 0.92), "psth R2": (0.1, 0.68), "fp-bps": (0, 0.27)}, 45),
    "mc_maze_large": ({"co-bps": (0.2, 0.39), "vel R2": (0.6, 0.9), "psth R2": (0.2, 0.7), "fp-bps": (0, 0.26)}, 40),
    "mc_maze_medium": ({"co-bps": (0.16, 0.33), "vel R2": (0.6, 0.9), "psth R2": (0.2, 0.65), "fp-bps": (0, 0.2)}, 38),
    "mc_maze_small": ({"co-bps": (0.12, 0.32), "vel R2": (0.5, 0.88), "psth R2": (0.1, 0.6), "fp-bps": (0, 0.2)}, 35),
    "mc_rtt": ({"co-bps": (0.12, 0.22), "vel R2": (0.4, 0.7), "fp-bps": (0, 0.14)}, 32),
    "area2_bump": ({"co-bps": (0.14, 0.3), "vel R2": (0.55, 0.9), "psth R2": (0.2, 0.75), "fp-bps": (0, 0.17)}, 16),
    "dmfc_rsg": ({"co-bps": (0.1, 0.19), "tp corr": (-0.3, -0.88), "psth R2": (0.2, 0.68), "fp-bps": (0, 0.2)}, 14),
}
DIFFERENCE_ERROR = 0.03  # of a metric's range: how uncertain the difference of two models is
SCORE_ERROR = 0.12  # of a metric's range: how uncertain a score is, mostly shared by all models
SEED_ERROR = 0.02
CROSS_DECODED = 8  # models whose latents are decoded from each other's, so that the table stays of real size
FAILED = ("stndt", "mc_rtt")  # this model has no result on this dataset
NO_INTERVAL = ("mc_maze_small", "psth R2")


@dataclass(frozen=True)
class Model:
    """A made-up model; `skill` from 0 to 1 places its scores between the worst and the best."""

    name: str
    skill: float
    parameters: int
    seeded: bool = True
    oracle: bool = False
    latents: int = 0
    forecasts: bool = True


SHIPPED = [
    Model("mean_rate", -1.1, 40, seeded=False),
    Model("flat_forecast", -1.0, 40, seeded=False),
    Model("smoothing", 0.2, 3800, seeded=False, forecasts=False),
    Model("gpfa", 0.25, 9000, seeded=False, latents=30),
    Model("slds", 0.4, 21000, seeded=False, latents=20),
    Model("mint", 0.75, 150000, seeded=False, latents=24),
    Model("condition_psth", 0.45, 0, seeded=False, oracle=True),
    Model("true_rates", 1.5, 0, seeded=False, oracle=True),
    Model("ndt", 0.7, 900000, latents=64),
    Model("stndt", 0.78, 1500000, latents=64, forecasts=False),
    Model("gru", 0.6, 310000, latents=48),
    Model("lfads", 0.68, 420000, latents=40),
    Model("autolfads", 0.8, 420000, latents=40),
]


def roster(models: int, rng: np.random.Generator) -> list[Model]:
    """The shipped models and as many others as are wanted, some with long names."""
    others = [
        Model(
            f"{['ndt', 'their_bidirectional_gru', 'ssm', 'lfads_ensemble_of_twenty'][i % 4]}_{i:02d}",
            float(rng.uniform(0.1, 1.0)),
            int(10 ** rng.uniform(3.5, 7)),
            seeded=i % 5 > 0,
            latents=int(rng.integers(4, 65)) if i % 3 else 0,
            forecasts=i % 4 != 1,
        )
        for i in range(models - len(SHIPPED))
    ]
    return (SHIPPED + others)[:models]


def fake_place(
    dataset: str, bin_ms: int, phase: str, models: list[Model], seeds: int, seed: int
) -> tuple[list[dict], dict]:
    """What scores.json of every run and comparison.json would hold at one (dataset, bin_ms, phase)."""
    rng = np.random.default_rng([seed, list(DATASETS).index(dataset), bin_ms, phase == "test"])
    spans, neurons = DATASETS[dataset]
    place = {"dataset": dataset, "bin_ms": bin_ms, "phase": phase}
    entries = [{**_entry(place, "null", 0, "null"), "scores": {m: 0.0 for m in ("co-bps", "fp-bps") if m in spans}}]
    comparison = {**place, "ranks": [], "differences": [], "cross_decoding": [], "consistency": []}
    present = [m for m in models if (m.name, dataset) != FAILED and not (m.oracle and "psth R2" not in spans)]
    runs = {m.name: range(seeds if m.seeded else 1) for m in present}
    drawn = {(m.name, s): _entry(place, m.name, s, "oracle" if m.oracle else "competitor") for m in present
             for s in runs[m.name]}  # fmt: skip
    for metric in METRICS:
        if metric not in spans:
            continue
        worst, best = spans[metric]
        scored = [m for m in present if metric != "fp-bps" or m.forecasts]
        shift = rng.normal(scale=0.3 * DIFFERENCE_ERROR)
        means, interval = {}, (dataset, metric) != NO_INTERVAL
        for model in scored:
            skill = model.skill + shift + rng.normal(scale=0.06)
            values = [worst + (best - worst) * (skill + SEED_ERROR * rng.normal() * model.seeded)
                      for _ in runs[model.name]]  # fmt: skip
            # no R2, and no correlation, beyond 1
            values = [float(np.clip(v, -0.98, 0.98)) for v in values]
            for s, value in zip(runs[model.name], values, strict=True):
                entry = drawn[model.name, s]
                entry["scores"][metric] = value
                entry["intervals"][metric] = _interval(value, best - worst, SCORE_ERROR) if interval else None
            means[model] = float(np.mean(values))
        comparison["ranks"] += _ranks(metric, means, runs, abs(best - worst), interval)
        comparison["differences"] += _differences(metric, means, abs(best - worst), interval)
    _add_latents(drawn, present, rng)
    for entry in drawn.values():
        entry["bits_per_neuron"] = [
            None if rng.random() < 0.01 else float(b)
            for b in entry["scores"]["co-bps"] * rng.gamma(2, 0.5, size=neurons) - 0.02
        ]
    decoded = [m for m in present if m.latents and not m.oracle][:CROSS_DECODED]
    comparison["cross_decoding"] = [
        {"model": a.name, "other": b.name, "R2": float(rng.uniform(0.3, 0.98))}
        for a in decoded
        for b in decoded
        if a != b
    ]
    parameters = {m.name: m.parameters for m in models}
    for (name, _), entry in drawn.items():
        entry["facts"] = {"parameters": parameters[name]}
        entry["provenance"]["prediction"] = {
            "seconds": float(rng.uniform(1, 4000)),
            "peak_mb": float(rng.uniform(200, 9000)),
            "device": "cuda" if parameters[name] > 300000 else "cpu",
            "code_digest": f"{rng.integers(2**63):016x}",
            "date": "2026-01-31T12:00:00Z",
        }
    comparison["consistency"] = [
        {"model": m.name, "seeds": seeds, "seed cross-decoding": float(rng.uniform(0.7, 0.99)),
         "matched correlation": float(rng.uniform(0.3, 0.98)), "sparse R2": float(rng.uniform(0.2, 0.95))}
        for m in present
        if m.latents and m.seeded and seeds > 1
    ]  # fmt: skip
    return entries + list(drawn.values()), comparison


def _entry(place: dict, model: str, seed: int, kind: str) -> dict:
    score = {
        "seconds": 0.5,
        "code_digest": "0123456789abcdef",
        "dataset_version": "0.220113.0400",
        "commit": "0123456789ab",
        "date": "2026-01-31T12:30:00Z",
    }
    return {
        **place, "model": model, "seed": seed, "kind": kind, "facts": {}, "scores": {}, "intervals": {}, "notes": [],
        "bits_per_neuron": [], "metrics_version": "1", "provenance": {"prediction": None, "score": score},
    }  # fmt: skip


def _interval(value: float, span: float, error: float) -> tuple[float, float]:
    return max(value - abs(span) * error, -1.0), min(value + abs(span) * error, 1.0)


def _ranks(metric: str, means: dict[Model, float], runs: dict, span: float, interval: bool) -> list[dict]:
    ranked = {m: v for m, v in means.items() if not m.oracle}
    reach = norm.ppf(1 - 0.025 / max(len(ranked) - 1, 1)) * DIFFERENCE_ERROR * span if interval else np.inf
    sign = -1 if metric in LOWER_IS_BETTER else 1
    rows = []
    for model, value in means.items():
        low, high = _interval(value, span, SCORE_ERROR) if interval else (None, None)
        row = {
            "metric": metric, "model": model.name, "kind": "oracle" if model.oracle else "competitor",
            "seeds": len(runs[model.name]), "value": value, "low": low, "high": high,
            "best_rank": None, "worst_rank": None,
        }  # fmt: skip
        if not model.oracle:
            row["best_rank"] = 1 + sum(sign * (v - value) > reach for v in ranked.values())
            row["worst_rank"] = len(ranked) - sum(sign * (value - v) > reach for v in ranked.values())
        rows.append(row)
    return rows


def _differences(metric: str, means: dict[Model, float], span: float, interval: bool) -> list[dict]:
    ranked = [(m.name, v) for m, v in means.items() if not m.oracle]
    reach, rows = norm.ppf(0.975) * DIFFERENCE_ERROR * span, []
    for i, (name, first) in enumerate(ranked):
        for other, second in ranked[i + 1 :]:
            low, high = (first - second - reach, first - second + reach) if interval else (None, None)
            real = interval and abs(first - second) > reach
            rows.append(
                {"metric": metric, "model": name, "other": other, "difference": first - second, "low": low,
                 "high": high, "real": real}
            )  # fmt: skip
    return rows


def _add_latents(drawn: dict, models: list[Model], rng: np.random.Generator) -> None:
    """k-shot co-bps and latent dimension, for the models with latents."""
    for model in models:
        for (name, _), entry in drawn.items():
            if name == model.name and model.latents:
                entry["scores"]["32-shot co-bps"] = entry["scores"]["co-bps"] * float(rng.uniform(0.4, 0.8))
                entry["scores"]["latent dimension"] = float(model.latents ** rng.uniform(0.5, 0.9))


def fake_results(
    folder: str | Path,
    models: int = 40,
    datasets: tuple[str, ...] = tuple(DATASETS),
    bin_ms: tuple[int, ...] = (5, 20),
    seeds: int = 5,
    phase: str = "val",
    seed: int = 0,
) -> dict[str, Path]:
    """Write the outputs of rule `tables` into `folder` (results/ of a run); their paths by name."""
    chosen = roster(models, np.random.default_rng(seed))
    places = [fake_place(d, b, phase, chosen, seeds, seed) for d in datasets for b in bin_ms]
    entries = [entry for found, _ in places for entry in found]
    comparisons = [comparison for _, comparison in places]
    tables = {
        "scores": score_table(entries),
        "costs": cost_table(entries),
        "neurons": neuron_table(entries),
        **{name: comparison_table(comparisons, name) for name in COMPARISONS},
        "summaries": summary_table([]),
        "notes": note_table(entries),
    }
    paths = {name: Path(folder) / f"{name}.csv" for name in tables}
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.to_csv(paths[name], index=False)
    return paths
