"""The pages for analysts: the only home of FastAPI and HTML templates. Figures come from ``replay`` and ``store``."""
