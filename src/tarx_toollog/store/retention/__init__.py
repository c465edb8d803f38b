"""Making a log smaller: what is old goes (``prune``), a dialogue goes without a trace (``erase``), the file shrinks.

``rows`` knows from the schema what belongs to what; ``counting`` says what would go; ``gc`` takes what nothing refers
to any more; ``compact`` writes the file anew; ``restore`` puts a backup in its place.
"""
