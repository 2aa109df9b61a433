"""Why a score is missing, in a few words, for tables and the page; the page also knows why answers are absent."""

from collections.abc import Collection, Mapping

from nlbflow.decoded_metric import is_decoded

NO_SCORES = "no scores were made"
# what of the answers a metric is of
OF = {"tp corr": "behavior", "psth R2": "psth"}
OF_LATENTS = ("-shot co-bps", "latent dimension", "state R2")


def why_missing(
    metric: str, kind: str, own: Collection[str], here: Collection[str], absent: Mapping[str, str] | None = None
) -> str:
    """Why a model has no score by a metric.

    Args:
        kind: of the model: competitor, oracle or null.
        own: the metrics that the model has a score by at the place.
        here: the metrics that any model has a score by there.
        absent: why answers are not there (`behavior`, `psth`), as far as it is known.
    """
    if metric not in here:
        of = "behavior" if is_decoded(metric) else OF.get(metric, "")
        return (absent or {}).get(of, "does not apply here")
    if not own:
        return NO_SCORES
    if kind == "null":
        return "not of the null model"
    if metric == "fp-bps":
        return "no forecast"
    if metric.endswith(OF_LATENTS) and not any(name.endswith(OF_LATENTS) for name in own):
        return "no latents"
    return "not predicted"
