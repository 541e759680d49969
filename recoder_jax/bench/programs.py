"""Programs to measure with where no other set is given: one a kind of chart, of the size that models write."""

_HEAD = """import matplotlib.pyplot as plt
import numpy as np

rng = np.random.default_rng(3)
"""
_TAIL = """
plt.savefig("chart.png")
plt.show()
"""
_BODIES = {
    "line": """
x = np.linspace(0, 10, 200)
fig, ax = plt.subplots(figsize=(8, 5))
for shift, color in zip(range(3), ["tab:blue", "tab:orange", "tab:green"]):
    ax.plot(x, np.sin(x + shift), color=color, label=f"shift {shift}")
ax.set_xlabel("Time (s)")
ax.set_ylabel("Signal")
ax.set_title("Three signals")
ax.grid(True, linestyle="--", alpha=0.5)
ax.legend(loc="upper right")
""",
    "bar": """
names = ["North", "East", "South", "West", "Centre"]
fig, ax = plt.subplots(figsize=(7, 4))
bars = ax.bar(names, [12, 19, 7, 15, 11], color="#4477aa", edgecolor="black")
ax.bar_label(bars)
ax.set_ylabel("Sales")
ax.set_title("Sales by region")
plt.tight_layout()
""",
    "grouped_bar": """
x, width = np.arange(4), 0.25
fig, ax = plt.subplots(figsize=(9, 5))
for i, (label, values) in enumerate({"2021": [3, 5, 2, 6], "2022": [4, 4, 3, 7], "2023": [6, 5, 4, 8]}.items()):
    ax.bar(x + i * width, values, width, label=label)
ax.set_xticks(x + width, ["Q1", "Q2", "Q3", "Q4"], rotation=30)
ax.set_ylabel("Units")
ax.legend(title="Year", ncols=3)
fig.tight_layout()
""",
    "horizontal_bar": """
names = [f"Group {i}" for i in range(8)]
plt.figure(figsize=(6, 5))
plt.barh(names, rng.integers(5, 30, 8), color=plt.cm.viridis(np.linspace(0, 1, 8)))
plt.xlabel("Count")
plt.title("Groups")
plt.tight_layout()
""",
    "stacked_bar": """
fig, ax = plt.subplots()
bottom = np.zeros(5)
for label, hatch in [("low", "/"), ("middle", "."), ("high", "x")]:
    values = rng.random(5) + 0.5
    ax.bar(range(5), values, bottom=bottom, label=label, hatch=hatch)
    bottom += values
ax.legend()
""",
    "scatter": """
fig, ax = plt.subplots(figsize=(7, 6))
points = ax.scatter(rng.random(80), rng.random(80), c=rng.random(80), s=300 * rng.random(80), alpha=0.6, cmap="plasma")
fig.colorbar(points, ax=ax, label="value")
ax.set_title("Bubbles")
""",
    "scatter_groups": """
fig, ax = plt.subplots()
for marker, name in zip("os^D", ["setosa", "versicolor", "virginica", "other"]):
    ax.scatter(*rng.normal(size=(2, 30)), marker=marker, label=name)
ax.legend()
ax.set(xlabel="length", ylabel="width", title="Species")
""",
    "histogram": """
plt.hist(rng.normal(size=1000), bins=30, density=True, color="steelblue", edgecolor="white")
x = np.linspace(-4, 4, 100)
plt.plot(x, np.exp(-x**2 / 2) / np.sqrt(2 * np.pi), "r--", linewidth=2)
plt.title(r"Histogram with $\\mu=0$, $\\sigma=1$")
plt.xlabel("Value")
""",
    "pie": """
fig, ax = plt.subplots(figsize=(6, 6))
ax.pie([35, 25, 20, 20], labels=["Cats", "Dogs", "Birds", "Fish"], autopct="%1.1f%%", startangle=90,
       explode=[0.1, 0, 0, 0], shadow=True)
ax.set_title("Pets")
""",
    "donut": """
fig, ax = plt.subplots()
wedges, _ = ax.pie([4, 3, 2, 1], wedgeprops={"width": 0.4, "edgecolor": "w"})
ax.legend(wedges, ["a", "b", "c", "d"], loc="center left", bbox_to_anchor=(1, 0.5))
fig.tight_layout()
""",
    "heatmap": """
data = rng.random((6, 6))
fig, ax = plt.subplots(figsize=(7, 6))
image = ax.imshow(data, cmap="YlGnBu")
for i in range(6):
    for j in range(6):
        ax.text(j, i, f"{data[i, j]:.2f}", ha="center", va="center", fontsize=8)
ax.set_xticks(range(6), [f"c{i}" for i in range(6)], rotation=45, ha="right")
ax.set_yticks(range(6), [f"r{i}" for i in range(6)])
fig.colorbar(image)
fig.tight_layout()
""",
    "contour": """
x, y = np.meshgrid(np.linspace(-3, 3, 80), np.linspace(-3, 3, 80))
z = np.exp(-x**2 - y**2) - np.exp(-(x - 1)**2 - (y - 1)**2)
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
left.clabel(left.contour(x, y, z, levels=8, colors="k"))
fig.colorbar(right.contourf(x, y, z, levels=12, cmap="RdBu"), ax=right)
""",
    "polar": """
angles = np.linspace(0, 2 * np.pi, 6, endpoint=False)
fig, ax = plt.subplots(subplot_kw={"projection": "polar"})
values = rng.random(6)
ax.plot(np.append(angles, angles[0]), np.append(values, values[0]), "o-")
ax.fill(angles, values, alpha=0.25)
ax.set_xticks(angles, ["speed", "power", "range", "cost", "weight", "size"])
""",
    "surface": """
x, y = np.meshgrid(np.linspace(-3, 3, 25), np.linspace(-3, 3, 25))
ax = plt.figure(figsize=(7, 5)).add_subplot(projection="3d")
ax.plot_surface(x, y, np.sin(np.hypot(x, y)), cmap="coolwarm")
ax.set_zlabel("z")
""",
    "scatter_3d": """
ax = plt.figure().add_subplot(projection="3d")
ax.scatter(*rng.random((3, 60)), c=rng.random(60), marker="^")
ax.set(xlabel="x", ylabel="y", zlabel="z", title="Points in space")
""",
    "box": """
fig, ax = plt.subplots()
boxes = ax.boxplot([rng.normal(m, 1, 100) for m in range(4)], patch_artist=True)
for box, color in zip(boxes["boxes"], ["pink", "lightblue", "lightgreen", "khaki"]):
    box.set_facecolor(color)
ax.yaxis.grid(True)
ax.set_title("Spread")
""",
    "violin": """
fig, ax = plt.subplots()
ax.violinplot([rng.normal(m, 1, 200) for m in range(3)], showmedians=True)
ax.set_xticks([1, 2, 3], ["low", "middle", "high"])
""",
    "errorbar": """
x = np.arange(1, 9)
fig, ax = plt.subplots()
ax.errorbar(x, np.sqrt(x), yerr=0.1 * x, fmt="o", capsize=4, ecolor="gray", label="measured")
ax.plot(x, np.sqrt(x), label=r"$\\sqrt{x}$")
ax.legend()
""",
    "stackplot": """
fig, ax = plt.subplots(figsize=(8, 4))
ax.stackplot(range(2000, 2020), rng.random((4, 20)), labels=["a", "b", "c", "d"], alpha=0.8)
ax.legend(loc="upper left", reverse=True)
ax.set_ylabel("Share")
""",
    "step": """
fig, axes = plt.subplots(2, 1, sharex=True)
axes[0].step(range(10), rng.integers(0, 5, 10), where="mid")
axes[1].stem(range(10), rng.random(10), linefmt="C1-", markerfmt="D")
axes[1].set_xlabel("n")
""",
    "quiver": """
x, y = np.meshgrid(np.arange(-2, 2, 0.4), np.arange(-2, 2, 0.4))
fig, ax = plt.subplots()
arrows = ax.quiver(x, y, -y, x, np.hypot(x, y))
ax.quiverkey(arrows, 0.9, 1.05, 2, "2 m/s")
ax.set_aspect("equal")
""",
    "subplots": """
fig, axes = plt.subplots(2, 2, figsize=(10, 8))
for ax, name in zip(axes.flat, ["sin", "cos", "tan", "exp"]):
    x = np.linspace(0, 1, 50)
    ax.plot(x, getattr(np, name)(x), label=name)
    ax.set_title(name)
    ax.legend()
fig.suptitle("Functions", fontsize=16)
fig.tight_layout()
""",
    "twin_axes": """
fig, ax = plt.subplots()
ax.plot(range(12), rng.random(12) * 30, "r-o")
ax.set_ylabel("Temperature (C)", color="r")
other = ax.twinx()
other.bar(range(12), rng.random(12) * 100, alpha=0.3)
other.set_ylabel("Rain (mm)")
""",
    "log": """
x = np.logspace(0, 4, 40)
fig, ax = plt.subplots()
ax.loglog(x, x**2, label="$x^2$")
ax.loglog(x, x * np.log(x + 1), "--", label=r"$x\\,\\log x$")
ax.grid(True, which="both", alpha=0.3)
ax.legend()
""",
    "mathematics": """
fig, ax = plt.subplots()
x = np.linspace(0.01, 3, 100)
ax.plot(x, x * np.exp(-x))
ax.set_title(r"$f(x) = x\\,e^{-x}$,  $\\int_0^\\infty f\\,\\mathrm{d}x = 1$")
ax.annotate(r"$\\frac{\\mathrm{d}f}{\\mathrm{d}x}=0$", (1, np.exp(-1)), (1.5, 0.3), arrowprops={"arrowstyle": "->"})
""",
    "dates": """
days = np.arange("2024-01-01", "2024-05-01", dtype="datetime64[D]")
fig, ax = plt.subplots(figsize=(9, 4))
ax.plot(days, np.cumsum(rng.normal(size=len(days))))
ax.fill_between(days, -5, 5, alpha=0.2)
fig.autofmt_xdate()
""",
    "hexbin": """
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 4))
x, y = rng.normal(size=(2, 2000))
left.hexbin(x, y, gridsize=20, cmap="inferno")
right.hist2d(x, y, bins=20)
""",
    "area_grid": """
fig = plt.figure(layout="constrained", figsize=(8, 6))
axes = fig.subplot_mosaic("AAB\\nCCB")
axes["A"].fill_between(range(20), rng.random(20), color="teal", alpha=0.4)
axes["B"].barh(range(6), rng.random(6))
axes["C"].scatter(*rng.random((2, 40)), marker="+")
for name, ax in axes.items():
    ax.set_title(f"Panel {name}")
""",
    "table": """
fig, ax = plt.subplots()
ax.axis("off")
ax.table(rng.integers(0, 99, (4, 3)).astype(str), rowLabels=list("abcd"), colLabels=["x", "y", "z"], loc="center")
ax.set_title("Values")
""",
    "mesh": """
fig, ax = plt.subplots()
mesh = ax.pcolormesh(np.linspace(0, 1, 31), np.linspace(0, 2, 21), rng.random((20, 30)), cmap="magma")
fig.colorbar(mesh)
ax.streamplot(np.linspace(0, 1, 10), np.linspace(0, 2, 10), np.ones((10, 10)), rng.random((10, 10)), color="w")
""",
}

PROGRAMS = {name: _HEAD + body + _TAIL for name, body in _BODIES.items()}
