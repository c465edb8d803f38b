"""What analysts are answered: figures, lists in pages, one thing in full, and the ready queries. Reading only."""
