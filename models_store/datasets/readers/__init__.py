"""Files of every format → sheets: named columns, and rows with the line at which each starts."""
