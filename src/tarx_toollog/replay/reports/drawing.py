"""Figures as SVG: the interval of a share, and the curve of chains that hold. Without style: that is the page's."""

from collections.abc import Sequence

from tarx_toollog.replay.statistics.proportion import Proportion
from tarx_toollog.replay.statistics.survival import Survival

_WIDTH, _HEIGHT, _LEFT, _TOP = 640, 240, 44, 12  # of the curve, in pixels


def interval_bar(share: Proportion) -> str:
    """Return a share of 0 to 100 % as a mark within its interval; nothing where nothing was counted."""
    if share.estimate is None:
        return ""
    low, width = share.low * 100, (share.high - share.low) * 100
    return (
        '<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="range" x="{low:.1f}" y="2" width="{max(width, 0.5):.1f}" height="4"/>'
        f'<rect class="mark" x="{share.estimate * 100 - 0.5:.1f}" y="0" width="1" height="8"/></svg>'
    )


def survival_curve(steps: Sequence[Survival], bound: float) -> str:
    """Return the share of chains that are right up to each step, with its interval and the share that is demanded."""
    if not steps:
        return ""
    across = (_WIDTH - _LEFT - 12) / len(steps)

    def point(number: int, share: float) -> tuple[str, str]:
        return f"{_LEFT + number * across:.1f}", f"{_TOP + (1 - share) * (_HEIGHT - 2 * _TOP - 14):.1f}"

    def line(shares: Sequence[float]) -> list[str]:
        return [",".join(point(number, share)) for number, share in enumerate([1.0, *shares])]

    upper, lower = line([step.high for step in steps]), line([step.low for step in steps])
    marks = [f'<text x="4" y="{point(0, share)[1]}">{share:.0%}</text>' for share in (1.0, 0.5, 0.0)]
    for number, step in enumerate(steps, 1):
        x, y = point(number, step.share)
        told = f"step {step.step_no}: {step.share:.1%} [{step.low:.1%}, {step.high:.1%}], {step.at_risk} chains"
        marks.append(f'<circle cx="{x}" cy="{y}" r="4"><title>{told}</title></circle>')
        marks.append(f'<text x="{x}" y="{_HEIGHT - 2}">{step.step_no}</text>')
    end_x, end_y = point(len(steps), bound)
    return (
        f'<svg class="curve" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="share of chains by step">'
        f'<polygon class="band" points="{" ".join(upper + lower[::-1])}"/>'
        f'<line class="bound" x1="{_LEFT}" y1="{end_y}" x2="{end_x}" y2="{end_y}"/>'
        f'<polyline class="line" points="{" ".join(line([step.share for step in steps]))}"/>{"".join(marks)}</svg>'
    )
