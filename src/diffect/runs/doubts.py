"""What a run's own figures speak against, as sentences for whoever reads it."""

from diffect.runs.record import GAINS, METRICS, Record


def unclear_gain(record: Record, category: str) -> str:
    """A sentence where a gain over the untrained twin is not clear of zero; else ""."""
    result, texts = record.results[category], []
    for metric in METRICS:
        gain, interval = result.metrics.get(metric.name), result.intervals.get(metric.name)
        if metric.name in GAINS.values() and gain is not None and (interval or (gain,))[0] <= 0:
            spread = f" (95% interval {interval[0]:+.3f} to {interval[1]:+.3f})" if interval else ""
            texts.append(f"{metric.title} {gain:+.3f}{spread}")
    return f"training may have added nothing: {', '.join(texts)}" if texts else ""


def broken_promise(record: Record, category: str) -> str:
    """A sentence where the run's test contradicts the promised false-positive rate; else ""."""
    rate = record.config["evaluation"]["conformal_rate"]
    interval = record.results[category].intervals.get("conformal_fpr")
    if interval is None or interval[0] <= rate:
        return ""
    return (
        f"the promised false-positive rate of {rate:g} was not kept in the run's test, where it was between "
        f"{interval[0]:.2g} and {interval[1]:.2g}: good test images are unlike the held-out ones that set the threshold"
    )
