"""Raw samples: which cases there are, where their files come from, and how each is split.

Every file is checked against a published SHA-256 before it is used. Networks, metrics and the wire
know nothing of data sets; they get arrays and an `InputSpec`. Parts are imported where they are
used (`obfnet.data.cases`, `obfnet.data.idx`), so that a device that only reads an IDX file loads
no downloader.
"""
