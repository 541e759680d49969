"""The picture of docs/scaling.md.

    python -m recoder_jax.planning.scaling_picture docs/scaling.png
"""

import sys

from matplotlib.figure import Figure

from recoder_jax.planning.scaling import FLEETS, predicted


def draw(path: str, reach: float = 0.5) -> None:
    """Seconds of a step against chips, a panel a stage, for each policy and chip."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    for stage, axes in zip((1, 2), figure.subplots(1, 2, sharey=True), strict=True):
        for name, colour in zip(FLEETS, ("tab:orange", "tab:green", "tab:blue"), strict=True):
            for policy, sizes in FLEETS[name].sizes.items():
                found = [predicted(policy, stage, name, chips, reach) for chips in sizes]
                line = "-" if policy == "7b" else "--"
                axes.plot(sizes, [one.step for one in found], line, color=colour, marker="o", markersize=4, label=f"{policy}, {name}")
        axes.set(xscale="log", yscale="log", xlabel="chips", title=f"stage {stage}, {'shared first turn' if stage == 1 else 'full trajectory'}")
        axes.set_xticks([8, 16, 32, 64, 128, 256, 512], labels=["8", "16", "32", "64", "128", "256", "512"])
        axes.set_yticks([30, 60, 120, 300, 600], labels=["30", "60", "120", "300", "600"])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel(f"seconds a step, predicted, {100 * reach:.0f} % of the roofline")
    figure.axes[1].legend(fontsize=8)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    draw(sys.argv[1])
