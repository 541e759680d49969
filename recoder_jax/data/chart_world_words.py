"""The words, colours and counts that each difficulty of the chart world draws from.

Difficulty 0 is made for a policy of about 2 M parameters that starts from nothing: title words begin with different
letters, colours lie far apart, values are single digits. Each difficulty contains the words of the one below.
"""
from dataclasses import dataclass

TITLES = (
    ('Accidents', 'Budget', 'Coffee', 'Downloads', 'Energy', 'Fish', 'Goals', 'Housing', 'Income', 'Jobs', 'Loans', 'Milk',
     'Noise', 'Oil', 'Population', 'Quakes', 'Rainfall', 'Sales', 'Traffic', 'Users', 'Votes', 'Wheat', 'Yield', 'Zinc'),
    ('Audience', 'Births', 'Cargo', 'Debt', 'Exports', 'Flights', 'Grades', 'Harvest', 'Imports', 'Profit', 'Rents', 'Visitors'),
    ('Arrivals', 'Battery', 'Calories', 'Demand', 'Errors', 'Forest', 'Humidity', 'Latency', 'Orders', 'Salaries', 'Tourism',
     'Wages'),
    ('Accuracy', 'Capacity', 'Deaths', 'Emissions', 'Footfall', 'Glaciers', 'Memory', 'Pollution', 'Revenue', 'Subsidies',
     'Turnover', 'Weight'),
)
QUALIFIERS = (
    (),
    ('Annual', 'Daily', 'Global', 'Local', 'Net', 'Rural', 'Total', 'Urban'),
    ('Mean', 'Online', 'Public', 'Winter'),
    ('Median', 'Peak', 'Retail', 'Summer'),
)
X_LABELS = (
    ('Age', 'City', 'Distance', 'Group', 'Month', 'Product', 'Region', 'Team', 'Week', 'Year'),
    ('Batch', 'Day', 'Hour', 'Level'), ('Country', 'Depth', 'Season', 'Trial'), ('Epoch', 'Minute', 'Quarter', 'Station'),
)
Y_LABELS = (
    ('Count', 'Dollars', 'Euros', 'Hours', 'Kilograms', 'Litres', 'Percent', 'Speed', 'Tons', 'Value'),
    ('Amount', 'Meters', 'Rate', 'Score'), ('Degrees', 'Height', 'Index', 'Points'), ('Cost', 'Frequency', 'Ratio', 'Watts'),
)
SERIES = (
    ('North', 'South', 'Men', 'Women', 'Old', 'New', 'Plan', 'Actual'),
    ('East', 'West', 'Before', 'After'), ('Alpha', 'Beta', 'Control', 'Treated'), ('Adults', 'Children', 'Model', 'Target'),
)
COLORS = (
    ('red', 'blue', 'green', 'orange', 'purple', 'cyan', 'black', 'gray'),
    ('brown', 'magenta', 'navy', 'olive', 'teal', 'gold', 'pink', 'lime'),
    ('crimson', 'indigo', 'salmon', 'skyblue', 'steelblue', 'seagreen', 'orchid', 'tomato'),
    ('chocolate', 'coral', 'darkgreen', 'khaki', 'plum', 'royalblue', 'sienna', 'turquoise'),
)
COLORMAPS = (('Blues', 'Greens', 'Reds', 'viridis'), ('Greys', 'plasma'), ('Purples', 'coolwarm'), ('hot', 'cividis'))
CATEGORIES = (
    (('A', 'B', 'C', 'D', 'E'), ('Mon', 'Tue', 'Wed', 'Thu', 'Fri')),
    (('Jan', 'Feb', 'Mar', 'Apr', 'May'), ('Q1', 'Q2', 'Q3', 'Q4')),
    (('Rome', 'Oslo', 'Lima', 'Bern', 'Kyiv', 'Doha'), ('Red', 'Tea', 'Rye', 'Fig', 'Oat', 'Pea')),
    (('V', 'W', 'X', 'Y', 'Z'), ('Cat', 'Dog', 'Cow', 'Hen', 'Pig', 'Fox')),
)
MARKERS = (('o',), ('s', '^'), ('D',), ('x',))
SCATTER_MARKERS = ((), ('s', '^'), ('D',), ('x',))  # without 'o', which is what a scatter draws by default
LINESTYLES = (('--',), (':',), ('-.',), ())
HATCHES = ((), ('//',), ('xx',), ('..',))

# Weights of the single-panel kinds; a kind absent from a difficulty has weight 0 there.
KIND_WEIGHTS = (
    {'bar': 22, 'barh': 8, 'line': 20, 'scatter': 14, 'pie': 10, 'histogram': 8, 'grouped_bar': 8, 'box': 5, 'heatmap': 5},
    {'bar': 16, 'barh': 9, 'line': 18, 'scatter': 12, 'pie': 9, 'histogram': 9, 'grouped_bar': 9, 'stacked_bar': 6, 'box': 6,
     'heatmap': 6},
    {'bar': 13, 'barh': 8, 'line': 16, 'area': 6, 'scatter': 11, 'pie': 9, 'histogram': 9, 'grouped_bar': 9, 'stacked_bar': 7,
     'box': 6, 'heatmap': 6},
    {'bar': 11, 'barh': 8, 'line': 15, 'area': 8, 'scatter': 10, 'pie': 8, 'histogram': 9, 'grouped_bar': 10, 'stacked_bar': 9,
     'box': 6, 'heatmap': 6},
)


@dataclass(frozen=True)
class Dial:
    """Everything one difficulty allows. Shares are probabilities in [0, 1]; counts are inclusive upper bounds."""
    kinds: tuple[str, ...]
    weights: tuple[float, ...]        # same order as kinds, sums to 1
    panels: float                     # share of charts with two panels
    titles: tuple[str, ...]
    qualifiers: tuple[str, ...]
    qualified: float                  # share of titles of two words
    x_labels: tuple[str, ...]
    y_labels: tuple[str, ...]
    series: tuple[str, ...]           # legend entries
    categories: tuple[tuple[str, ...], ...]
    shuffled: bool                    # categories start anywhere instead of at the first
    colors: tuple[str, ...]
    hex: float                        # share of colours written as '#rrggbb'
    colormaps: tuple[str, ...]
    markers: tuple[str, ...]          # of lines
    scatter_markers: tuple[str, ...]
    linestyles: tuple[str, ...]
    hatches: tuple[str, ...]
    styled: float                     # share of series with a marker, line style or hatch
    grid: float
    reference: float                  # share of charts with a dashed horizontal line
    unlabelled: float                 # share of axis labels left out; half as many titles
    lines: int                        # series of a line or area chart
    groups: int                       # series of a grouped or stacked bar chart
    points: int                       # values of a series
    largest: int                      # largest value
    decimals: float                   # share of series with one decimal
    explicit_x: float                 # share of line charts that state their x values


def words(table: tuple[tuple, ...], difficulty: int) -> tuple:
    """The entries of `table` for all difficulties up to this one."""
    return tuple(word for row in table[:difficulty + 1] for word in row)


def dial(difficulty: int) -> Dial:
    """The settings of a difficulty from 0 to 3. Raises ValueError for any other."""
    if difficulty not in (0, 1, 2, 3):
        raise ValueError(f'difficulty {difficulty!r} does not exist: choose 0, 1, 2 or 3.')
    weights = KIND_WEIGHTS[difficulty]
    total = sum(weights.values())
    return Dial(
        kinds=tuple(weights), weights=tuple(weight / total for weight in weights.values()),
        panels=(0.05, 0.12, 0.18, 0.25)[difficulty],
        titles=words(TITLES, difficulty), qualifiers=words(QUALIFIERS, difficulty), qualified=(0.0, 0.3, 0.5, 0.6)[difficulty],
        x_labels=words(X_LABELS, difficulty), y_labels=words(Y_LABELS, difficulty), series=words(SERIES, difficulty),
        categories=words(CATEGORIES, difficulty), shuffled=difficulty > 0,
        colors=words(COLORS, difficulty), hex=(0.0, 0.0, 0.0, 0.2)[difficulty], colormaps=words(COLORMAPS, difficulty),
        markers=words(MARKERS, difficulty), scatter_markers=words(SCATTER_MARKERS, difficulty),
        linestyles=words(LINESTYLES, difficulty), hatches=words(HATCHES, difficulty),
        styled=(0.3, 0.4, 0.5, 0.5)[difficulty], grid=(0.15, 0.2, 0.25, 0.3)[difficulty],
        reference=(0.0, 0.0, 0.1, 0.15)[difficulty], unlabelled=(0.1, 0.1, 0.15, 0.2)[difficulty],
        lines=(2, 2, 3, 3)[difficulty], groups=(2, 2, 3, 3)[difficulty], points=(5, 5, 6, 6)[difficulty],
        largest=(9, 20, 50, 99)[difficulty], decimals=(0.0, 0.1, 0.2, 0.3)[difficulty],
        explicit_x=(0.0, 0.3, 0.5, 0.5)[difficulty],
    )
