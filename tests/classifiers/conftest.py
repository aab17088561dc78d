"""The scripts that made the files need exporters that are not installed here."""

collect_ignore_glob = ["make_*.py"]
