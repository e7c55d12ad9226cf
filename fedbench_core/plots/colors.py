"""The colors of plots and of the charts in a report, which needs no matplotlib for them."""

BLUE, GRAY, DARK = "#0072B2", "#B8B8B8", "#333333"
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""The palette of Okabe and Ito without its yellow, which is too pale for lines on white."""
