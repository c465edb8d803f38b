"""Templates are compiled before somebody looks at a page."""

from typing import Any

import pytest

from tarx_toollog.web import site


def test_all_templates_are_compiled_that_of_the_first_page_first(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []
    compile_one: Any = site._TEMPLATES.compile

    def noting(source: str, name: str, *args: Any, **kwargs: Any) -> Any:
        compiled.append(name)
        return compile_one(source, name, *args, **kwargs)

    monkeypatch.setattr(site._TEMPLATES, "compile", noting)
    monkeypatch.setattr(site._TEMPLATES, "cache", {})

    site.compile_templates()

    assert "overview.html" == compiled[0]
    assert set(site._TEMPLATES.list_templates()) == set(compiled)
