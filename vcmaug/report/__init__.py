"""The report: one HTML file about one work folder."""
