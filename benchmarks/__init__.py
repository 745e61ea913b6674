"""Speed, measured side by side in one run: `make bench`. Figures are medians; compare ratios, not machines."""
