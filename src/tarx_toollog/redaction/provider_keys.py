"""Keys that providers hand out in a shape of their own: a prefix, then characters of an alphabet. Data, no logic.

The shapes are those that the providers document, or that their own scanners and tools recognise. What is public by
design (Stripe's ``pk_``, the id of an AWS account) is not here.
"""

import re

from tarx_toollog.redaction.rules import Rule, Span

BEGINS = r"(?:(?<![A-Za-z0-9_-])|(?<=\\[bfnrt])|(?<=%[0-9A-Fa-f]{2}))"
"""Where a key may begin: not within a word, but behind an escape that was not undone (``\\n``, ``%20``)."""
_ENDS = r"(?![A-Za-z0-9])"

_A = "[A-Za-z0-9]"
_W = "[A-Za-z0-9_-]"
_H = "[0-9a-f]"

_SHAPES: tuple[tuple[str, tuple[str, ...], str], ...] = (
    # name, prefixes (the anchors), what follows any of them
    ("anthropic_key", ("sk-ant-",), f"{_W}{{20,}}+"),
    ("openrouter_key", ("sk-or-v1-",), f"{_H}{{64}}"),
    ("langfuse_key", ("sk-lf-",), f"{_H}{{8}}(?:-{_H}{{4}}){{3}}-{_H}{{12}}"),
    ("openai_key", ("sk-proj-", "sk-svcacct-", "sk-admin-", "sk-none-"), f"{_W}{{20,}}+"),
    ("openai_key", ("sk-",), f"{_A}{{32,}}+"),
    ("google_api_key", ("AIza",), f"{_W}{{35}}(?!{_W})"),
    ("google_oauth_secret", ("GOCSPX-",), f"{_W}{{28}}"),
    ("google_oauth_token", ("ya29.", "1//0"), f"{_W}{{30,}}+"),
    ("aws_access_key_id", ("AKIA", "ASIA", "ABIA", "ACCA"), "[A-Z2-7]{16}"),
    ("aws_session_token", ("IQoJb3JpZ2lu", "FwoGZXIvYXdz"), "[A-Za-z0-9/+=]{60,}+"),
    ("aws_bedrock_key", ("ABSK",), "[A-Za-z0-9+/]{100,}+=*"),
    ("github_token", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), f"{_A}{{36,}}+"),
    ("github_token", ("github_pat_",), "[A-Za-z0-9_]{36,}+"),
    (
        "gitlab_token",
        ("glpat-", "gldt-", "glrt-", "glcbt-", "glptt-", "glft-", "glsoat-", "glagent-", "gloas-", "glimt-"),
        f"{_W}{{20,}}+",
    ),
    ("slack_token", ("xoxb-", "xoxp-", "xoxa-", "xoxe-", "xoxo-", "xoxr-", "xoxs-", "xoxc-", "xoxd-"), f"{_W}{{20,}}+"),
    ("slack_token", ("xapp-",), rf"\d-[A-Z0-9]+-\d+-{_H}{{32,}}+"),
    ("slack_webhook", ("hooks.slack.com/services/",), "T[A-Z0-9]{6,}+/B[A-Z0-9]{6,}+/[A-Za-z0-9]{20,}+"),
    ("discord_webhook", ("discord.com/api/webhooks/", "discordapp.com/api/webhooks/"), rf"\d{{15,}}+/{_W}{{50,}}+"),
    ("stripe_key", ("sk_live_", "sk_test_", "rk_live_", "rk_test_"), f"{_A}{{16,}}+"),
    ("stripe_webhook_secret", ("whsec_",), "[A-Za-z0-9+/]{24,}+={0,2}"),
    ("huggingface_token", ("hf_", "api_org_"), f"{_A}{{30,}}+"),
    ("npm_token", ("npm_",), f"{_A}{{36}}"),
    ("pypi_token", ("pypi-AgEIcHlwaS5vcmc", "pypi-AgENdGVzdC5weXBpLm9yZw"), f"{_W}{{50,}}+"),
    ("rubygems_key", ("rubygems_",), f"{_H}{{48}}"),
    ("crates_token", ("cio",), f"{_A}{{32}}"),
    ("sendgrid_key", ("SG.",), rf"{_W}{{22}}\.{_W}{{43}}"),
    ("brevo_key", ("xkeysib-",), f"{_H}{{64}}-{_A}{{16}}"),
    ("mailgun_key", ("key-",), f"{_H}{{32}}"),
    ("digitalocean_token", ("dop_v1_", "doo_v1_", "dor_v1_"), f"{_H}{{64}}"),
    ("shopify_token", ("shpat_", "shpca_", "shppa_", "shpss_"), "[0-9a-fA-F]{32}"),
    ("square_token", ("sq0atp-", "sq0csp-"), f"{_W}{{22,}}+"),
    ("docker_token", ("dckr_pat_", "dckr_oat_"), f"{_W}{{27,}}+"),
    ("databricks_token", ("dapi",), rf"{_H}{{32}}(?:-\d)?"),
    ("grafana_token", ("glsa_",), f"{_A}{{32}}_[0-9a-fA-F]{{8}}"),
    ("grafana_token", ("glc_",), "[A-Za-z0-9+/]{32,}+={0,2}"),
    ("linear_key", ("lin_api_", "lin_oauth_"), f"{_A}{{32,}}+"),
    ("notion_token", ("ntn_", "secret_"), f"{_A}{{40,}}+"),
    ("replicate_token", ("r8_",), f"{_A}{{37}}"),
    ("groq_key", ("gsk_",), f"{_A}{{48,}}+"),
    ("xai_key", ("xai-",), f"{_A}{{70,}}+"),
    ("perplexity_key", ("pplx-",), f"{_A}{{40,}}+"),
    ("tavily_key", ("tvly-",), f"{_W}{{20,}}+"),
    ("nvidia_key", ("nvapi-",), f"{_W}{{60,}}+"),
    ("cerebras_key", ("csk-",), f"{_A}{{40,}}+"),
    ("pinecone_key", ("pcsk_",), "[A-Za-z0-9_]{50,}+"),
    ("langsmith_key", ("lsv2_pt_", "lsv2_sk_"), f"{_H}{{32}}_{_H}{{10}}"),
    ("vault_token", ("hvs.", "hvb.", "hvr."), f"{_W}{{24,}}+"),
    ("atlassian_token", ("ATATT3x",), "[A-Za-z0-9_=-]{60,}+"),
    ("doppler_token", ("dp.pt.", "dp.st.", "dp.ct."), "[A-Za-z0-9_.]{40,}+"),
    ("postman_key", ("PMAK-",), f"{_H}{{24}}-{_H}{{34}}"),
    ("newrelic_key", ("NRAK-",), "[A-Z0-9]{27}"),
    ("sentry_token", ("sntrys_", "sntryu_"), "[A-Za-z0-9+/=_]{40,}+"),
    ("supabase_key", ("sbp_",), f"{_H}{{40}}"),
    ("supabase_key", ("sb_secret_",), f"{_W}{{20,}}+"),
    ("planetscale_token", ("pscale_tkn_", "pscale_pw_", "pscale_oauth_"), "[A-Za-z0-9_=.-]{32,}+"),
    ("age_secret_key", ("AGE-SECRET-KEY-1",), "[0-9A-Z]{58}"),
    ("figma_token", ("figd_",), f"{_W}{{40,}}+"),
    ("sourcegraph_token", ("sgp_",), "[0-9a-fA-F_]{40,}+"),
    ("tailscale_key", ("tskey-auth-", "tskey-api-", "tskey-client-"), f"{_W}{{20,}}+"),
    ("airtable_token", ("pat",), rf"{_A}{{14}}\.{_H}{{64}}"),
)


def _rule(name: str, prefixes: tuple[str, ...], body: str) -> Rule:
    start = "|".join(map(re.escape, prefixes))
    return Rule(
        name=name,
        kind="secret",
        pattern=re.compile(f"{BEGINS}(?:{start}){body}{_ENDS}"),
        anchors=tuple(prefix.lower() for prefix in prefixes),
        check=varied,
        before=0,
        where="word",
    )


def varied(match: re.Match[str]) -> Span | None:
    """Take a match that is not a placeholder (``sk-xxxxxxxx…``) or words joined by dashes."""
    text = match[0]
    has_digit = any(c.isdigit() for c in text[4:])
    is_word_like = not has_digit and text == text.lower()
    return None if is_word_like or len(set(text)) < 10 else Span(*match.span())


PROVIDER_RULES: tuple[Rule, ...] = tuple(_rule(*shape) for shape in _SHAPES)
"""A rule for each shape; shapes of one provider share its name."""
