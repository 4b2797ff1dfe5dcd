"""Draws deliveries against workers: python chatter.py DATA.csv PICTURE...

DATA is what `cargo xtask bench chatter` writes.
"""

import csv
import sys

import matplotlib

matplotlib.use('Agg')
matplotlib.rcParams.update({'font.size': 11, 'svg.fonttype': 'none', 'svg.hashsalt': 'chatter'})

from matplotlib import pyplot  # noqa: E402

# gossip, its label, colour, mark, the mark's size: what lies on another line is a ring around its marks
LINES = [
    ('celery', 'Celery', '#555555', 'o', 10),
    ('classic', 'celeriac --gossip classic', '#d1782b', 's', 5),
    ('stream', 'celeriac --gossip stream', '#2a8a57', 'D', 10),
    ('watch', 'celeriac', '#1f5fb4', 'o', 5),
]


def main(data, *pictures):
    points = {}
    with open(data, newline='') as file:
        for row in csv.DictReader(file):
            if row['delivered/s']:
                points.setdefault(row['gossip'], []).append((int(row['N']), float(row['delivered/s'])))
    everything = [point for line in points.values() for point in line]
    largest = max(size for size, _ in everything)
    figure, axes = pyplot.subplots(figsize=(7.6, 4.8), layout='constrained')
    measured = max((size for size, _ in points.get('celery', [])), default=1)
    if measured < largest:
        due = [size for size in (measured, largest) if size]
        axes.plot(due, [size * size / 2 for size in due], color='#555555', linestyle='--', linewidth=1.2)
        note(axes, largest, largest * largest / 2, 'Celery, N²/2', '#555555')
    for gossip, label, colour, mark, width in LINES:
        line = sorted(points.get(gossip, []))
        if line:
            sizes, delivered = zip(*line)
            ring = {'markerfacecolor': 'none', 'markeredgewidth': 1.4, 'zorder': 3} if width > 5 else {}
            axes.plot(
                sizes, delivered, color=colour, marker=mark, markersize=width, linewidth=1.6, label=label, **ring
            )
    if 'watch' in points:
        size, delivered = max(points['watch'])
        note(axes, size, delivered, f'{delivered:,.0f}  ({delivered / size:.2g} N)', '#1f5fb4')
    axes.set_xscale('log')
    axes.set_yscale('log')
    sizes = sorted({size for size, _ in everything})
    axes.set_xticks(sizes, [f'{size:,}' for size in sizes])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(lambda figure, _: f'{figure:,.0f}')
    axes.set_xlim(right=largest * 3)
    axes.set_xlabel('workers')
    axes.set_ylabel('messages delivered a second, at rest')
    axes.grid(color='#e4e4e4', linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[['top', 'right']].set_visible(False)
    axes.legend(frameon=False, loc='upper left')
    for picture in pictures:
        options = {'metadata': {'Date': None}} if picture.endswith('.svg') else {'dpi': 160}
        figure.savefig(picture, **options)


def note(axes, size, delivered, text, colour):
    axes.annotate(text, (size, delivered), xytext=(7, 0), textcoords='offset points', color=colour, va='center')


main(*sys.argv[1:])
