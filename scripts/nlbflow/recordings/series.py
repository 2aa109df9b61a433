"""Behaviour series of an NWB file (NWB's TimeSeries) on the 1 ms clock."""

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from nlbflow.errors import NlbflowError

# Samples further apart than this many usual steps have a gap between them, over which nothing is interpolated.
GAP_STEPS = 2.5
# Faster series are read through a windowed sinc: pass band up to 0.8 of the 500 Hz that 1 ms samples can hold, as
# scipy.signal.decimate takes it, and 10 ms to either side.
PASS_BAND, HALF_MS = 0.8, 10.0
CHUNK_ROWS = 20_000
# Samples this far outside of the recording still count for the filters at its edges.
MARGIN_MS = 600
# Times in ms make a series a thousand times longer than the recording.
FAR = 50


@dataclass(frozen=True)
class Series:
    """A series on the 1 ms clock.

    Attributes:
        rows: (samples,) 1 ms rows, ascending; rows in gaps are absent.
        values: (samples, channels) in `unit`, NaN where unknown.
        unit: the file's word for the unit, after conversion.
        rate_hz: the sampling rate in the file.
    """

    rows: np.ndarray
    values: np.ndarray
    unit: str = "unknown"
    rate_hz: float = 1000.0


def read_series(
    file: h5py.File, path: str | Path, name: str, first: int, end: int, as_reference: bool
) -> Series | None:
    """A series, or None where the file has none of that name.

    As the reference reads it, samples must be at 1 kHz on the clock and stay as they are stored; else `conversion`,
    `offset` and `channel_conversion` are applied, and other rates are brought to 1 kHz: faster ones filtered against
    aliasing, slower ones interpolated.

    Args:
        file: the NWB file.
        path: its path, for messages.
        name: of the series, or its path in the file.
        first, end: the recorded rows [first, end).
        as_reference: see above.

    Raises:
        NlbflowError: several series have that name, or data and times do not make a series.
    """
    item = find_series(file, path, name, as_reference)
    if item is None:
        return None
    try:
        values, ms = item["data"][()], _times_ms(item, path, name)
    except OSError as error:
        raise NlbflowError(f"{path}: the series {name} is damaged ({error}); fetch it again.") from error
    if values.dtype.kind not in "fiub":
        raise NlbflowError(f"{path}: the series {name} holds {values.dtype}; expected numbers: name another.")
    _check_times(ms, len(values), path, name)
    attributes = item["data"].attrs
    values = values.reshape(len(values), -1)
    if not as_reference:
        if values.shape[1] > len(values):
            raise NlbflowError(
                f"{path}: the series {name} has {len(values):,} samples of {values.shape[1]:,} channels; expected time "
                "on the first axis of its data: mend the file."
            )
        rate_of_file = _rate_hz(ms)
        near = (ms >= first) & (ms < end)
        # a camera may run longer than the probe, but not that much longer
        if not near.any() or (near.mean() < 0.5 and np.ptp(ms) > FAR * (end - first)):
            raise NlbflowError(
                f"{path}: {1 - near.mean():.0%} of the samples of the series {name} ({ms[0] / 1000:g} to "
                f"{ms[-1] / 1000:g} s) lie outside of the recording ({first / 1000:g} to {end / 1000:g} s); its times "
                "must be in s on the clock of the spikes: divide by 1000 if they are in ms."
            )
        # what lies further from the recording than the filters reach is not needed
        near = slice(*np.searchsorted(ms, [first - MARGIN_MS, end + MARGIN_MS]))
        ms, values = ms[near], values[near]
    values = values.astype(float, copy=False)
    if not as_reference:
        values = _converted(values, item)
    if not np.isfinite(values).any(axis=0).all():
        raise NlbflowError(f"{path}: the series {name} has a channel without a finite sample; name another.")
    rate_hz = _rate_hz(ms) if as_reference else rate_of_file
    whole = np.rint(ms)
    on_clock = np.abs(ms - whole).max() <= 1e-3 and (len(ms) < 2 or np.median(np.diff(whole)) == 1)
    if on_clock:
        rows = whole.astype(np.int64)
    elif as_reference:
        raise NlbflowError(
            f"{path}: the series {name} is sampled at {rate_hz:g} Hz or not on the 1 ms clock; with `reference: "
            "nlb_tools` in the stanza it must be at 1 kHz: leave that key out to have it resampled."
        )
    else:
        rows, values = to_clock(ms, values)
    recorded = slice(*np.searchsorted(rows, [first, end]))
    order = _column_order(item.attrs.get("comments", ""), values.shape[1])
    values = values[recorded] if order is None else values[recorded][:, order]
    return Series(rows[recorded], values, str(attributes.get("unit", "unknown")), rate_hz)


def _rate_hz(ms: np.ndarray) -> float:
    return 1000.0 / float(np.median(np.diff(ms))) if len(ms) > 1 else 1000.0


def to_clock(ms: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Samples (n, channels) at ascending times in ms, brought to the whole ms between them: (rows, values).

    Rows in gaps are absent; a row beside an unknown sample is NaN in that channel.
    """
    step = float(np.median(np.diff(ms))) if len(ms) > 1 else 1.0
    breaks = np.flatnonzero(np.diff(ms) > max(GAP_STEPS * step, 1.5)) + 1
    rows, found = [], []
    for start, stop in zip(np.append(0, breaks), np.append(breaks, len(ms)), strict=True):
        inner = np.arange(np.ceil(ms[start] - 1e-3), np.floor(ms[stop - 1] + 1e-3) + 1)
        part = ms[start:stop], values[start:stop], np.clip(inner, ms[start], ms[stop - 1])
        rows.append(inner.astype(np.int64))
        found.append(_filtered(*part, step) if step < 0.999 else _interpolated(*part))
    return np.concatenate(rows), np.concatenate(found)


def _interpolated(ms: np.ndarray, values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Linearly; NaN beside an unknown sample, unless `at` is right on a known one."""
    before = np.clip(np.searchsorted(ms, at, "right") - 1, 0, max(len(ms) - 2, 0))
    after = np.minimum(before + 1, len(ms) - 1)
    share = np.divide(at - ms[before], ms[after] - ms[before], out=np.zeros(len(at)), where=ms[after] > ms[before])
    share = share[:, None]
    return np.where(share == 0, 0, share * values[after]) + np.where(share == 1, 0, (1 - share) * values[before])


def _filtered(ms: np.ndarray, values: np.ndarray, at: np.ndarray, step: float) -> np.ndarray:
    """Through a Hamming-windowed sinc around each time, whatever the spacing of the samples; normalised to sum 1."""
    out = np.empty((len(at), values.shape[1]))
    known = np.isfinite(values)
    filled = np.where(known, values, 0.0)
    low, high = np.searchsorted(ms, at - HALF_MS), np.searchsorted(ms, at + HALF_MS, "right")
    nearest = np.clip(np.searchsorted(ms, at), 1, len(ms) - 1) if len(ms) > 1 else np.zeros(len(at), np.int64)
    nearest -= (len(ms) > 1) & (at - ms[nearest - 1] <= ms[nearest] - at)
    # so many rows at a time that weights stay small
    chunk = max(1, int(CHUNK_ROWS * 100 * step / HALF_MS))
    for start in range(0, len(at), chunk):
        part = slice(start, start + chunk)
        index = low[part, None] + np.arange((high - low)[part].max())
        there = index < high[part, None]
        index = np.minimum(index, len(ms) - 1)
        offset = ms[index] - at[part, None]
        weights = np.sinc(PASS_BAND * offset) * (0.54 + 0.46 * np.cos(np.pi * offset / HALF_MS)) * there
        total = np.einsum("rs,rsc->rc", weights, known[index].astype(float))
        out[part] = np.einsum("rs,rsc->rc", weights, filled[index]) / np.where(total == 0, np.nan, total)
    return np.where(known[nearest], out, np.nan)


def _times_ms(item: h5py.Group, path: str | Path, name: str) -> np.ndarray:
    """The times of the samples in ms."""
    if "timestamps" in item:
        times = item["timestamps"]
        unit = times.attrs.get("unit", "seconds")
    elif "starting_time" in item and item["starting_time"].attrs.get("rate", 0) > 0:
        times, unit = item["starting_time"], item["starting_time"].attrs.get("unit", "seconds")
    else:
        raise NlbflowError(f"{path}: the series {name} has neither timestamps nor a starting time with a rate > 0.")
    if unit not in ("seconds", "second", "s"):
        raise NlbflowError(f"{path}: the series {name} has its times in {unit}; NWB says seconds: mend the file.")
    if "timestamps" in item:
        ms = times[()] * 1000.0
        if ms.ndim != 1:
            raise NlbflowError(
                f"{path}: the timestamps of the series {name} have the shape {ms.shape}; expected one time a sample: "
                "mend the file."
            )
        return ms
    return (np.arange(len(item["data"])) / times.attrs["rate"] + times[()]) * 1000.0


def _check_times(ms: np.ndarray, samples: int, path: str | Path, name: str) -> None:
    fault = None
    if len(ms) != samples:
        fault = f"has {samples:,} samples and {len(ms):,} timestamps; expected one for each"
    elif samples == 0:
        fault = "is empty"
    elif not np.isfinite(ms).all():
        fault = f"has {np.sum(~np.isfinite(ms)):,} timestamps that are not numbers"
    elif (np.diff(ms) <= 0).any():
        at = int(np.argmax(np.diff(ms) <= 0))
        kind = "repeated" if ms[at] == ms[at + 1] else "not ascending"
        this, following = ms[at : at + 2] / 1000
        fault = f"has timestamps that are {kind} (samples {at} and {at + 1}: {this:g} s, {following:g} s)"
    if fault:
        raise NlbflowError(f"{path}: the series {name} {fault}; mend the file or name another series.")


def _converted(values: np.ndarray, item: h5py.Group) -> np.ndarray:
    """In the file's unit: data * conversion * channel_conversion + offset (NWB 2.x, TimeSeries, ElectricalSeries)."""
    attributes = item["data"].attrs
    factor, offset = float(attributes.get("conversion", 1.0)), float(attributes.get("offset", 0.0))
    if "channel_conversion" in item:
        factor = factor * item["channel_conversion"][()]
    return values if np.all(factor == 1.0) and offset == 0.0 else values * factor + offset


def find_series(file: h5py.File, path: str | Path, name: str, as_reference: bool) -> h5py.Group | None:
    """The group of a time series: in processing/behavior, or the one of that name or path anywhere in the file."""
    usual = file.get(name if "/" in name else f"processing/behavior/{name}")
    if isinstance(usual, h5py.Group) and "data" in usual:
        return usual
    found = [other for other in series_paths(file) if other.rsplit("/", 1)[-1] == name]
    if len(found) > 1 and not as_reference:
        raise NlbflowError(
            f"{path} has several series named {name!r}: {', '.join(found)}; name one by its path in `behavior.series`."
        )
    return file[found[0]] if found else None


def series_paths(file: h5py.File) -> list[str]:
    """The paths of all time series of a file."""
    found: list[str] = []

    def note(path: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Group) and "data" in item:
            found.append(path)

    file.visititems(note)
    return found


def _column_order(comments: str, channels: int) -> np.ndarray | None:
    """Channels sorted by their names, which the benchmark keeps in the comments as `columns=[x,y]`; None where they
    are in order."""
    if "columns=" not in comments:
        return None
    names = comments.split("[")[-1].split("]")[0].split(",")
    return np.argsort(np.array(names)) if len(names) == channels and names != sorted(names) else None
