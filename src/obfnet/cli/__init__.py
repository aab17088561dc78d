"""The command `obfnet`: arguments in, one clear line or a table out. The only place that exits."""
