r"""The words of ``identity_lint``: names of models and makers, and sentences in which a speaker takes one for its own.

Data, not logic. In the patterns ``PRODUCT``, ``MAKER`` and ``EITHER`` stand for the names, ``name`` is the group of the
one that was found, and ``between`` the group of what stands between the first person and it. They are read with
``re.VERBOSE``: a space is written as ``\s``.
"""

PRODUCTS = (
    "ChatGPT", "GPT", "Claude", "Gemini", "Bard", "Qwen", "QwQ", "Tongyi Qianwen", "DeepSeek", "Llama", "Mistral",
    "Mixtral", "Ministral", "Gemma", "Phi", "Grok", "Copilot", "Kimi", "ERNIE", "ChatGLM", "GLM", "Baichuan",
    "InternLM", "MiniMax", "Doubao", "Hunyuan", "Command R", "Granite", "Nemotron", "Jamba", "Vicuna", "OLMo", "SmolLM",
    "EXAONE", "通义千问", "千问", "文心一言", "豆包", "混元", "智谱清言",
)  # fmt: skip
"""Names of models and assistants; names that are mostly something else (Nova, Falcon, Solar) are not among them."""

MAKERS = (
    "OpenAI", "Anthropic", "Google", "DeepMind", "Alibaba", "Qwen", "Meta", "Facebook", "Mistral", "DeepSeek", "xAI",
    "Microsoft", "Moonshot", "Baidu", "Zhipu", "Z.ai", "01.AI", "Tencent", "ByteDance", "Cohere", "Amazon", "NVIDIA",
    "IBM", "AI21", "Hugging Face", "Ai2", "Tongyi", "阿里巴巴", "阿里云", "百度", "谷歌", "腾讯", "字节跳动",
    "深度求索", "智谱", "月之暗面",
)  # fmt: skip
"""Names of those who make them."""

_SUFFIX = r"""
    (?:[-\s]?[vr]?\d[\w.]*\b)?
    (?:[-\s](?:mini|turbo|pro|plus|max|flash|ultra|nano|sonnet|opus|haiku|instruct|chat|coder|AI|assistant)\b)*
"""
# What may follow a name that ends its phrase.
_END = r"""
    [*_]*
    (?= \s*(?:$|[.,;:!?()，。！？、（]|\n)
      | \s+[-–—]
      | \s+(?:and|but|by|from|of|an?|the|your|made|created|developed|trained|here|not|running|speaking)\b
      | \s+(?:und|ein|eine|von|der|die|das|dein|et|un|une|par|y|creado|de|tu)\b
    )
"""
AI = r"(?:AI|KI|LLM|model|assistant|chatbot|bot)"
_MADE = r"(?:trained|developed|created|made|built|designed|fine-tuned|programmed|engineered|launched|released)"
_TEAM = r"""
    (?:(?:the|a|an|teams?|engineers?|researchers?|scientists?|people|folks|company|at|of|from|in|tech|giant)\s+){0,5}
"""

# I am NAME
_NAMED = rf"""
    \b(?: I\sam | I['’]m | my\sname\sis | my\sname['’]s | call\sme | I\sgo\sby | I\sam\scalled | I['’]m\scalled
        | you['’]re\stalking\sto | you\sare\stalking\sto
        | ich\sbin | ich\sheiße | mein\sName\sist
        | je\ssuis | je\sm['’]appelle | mon\snom\sest
        | soy | me\sllamo | mi\snombre\ses )
    \s+(?:actually\s+|really\s+|just\s+)? [*_]* (?:MAKER(?:['’]s)?\s+)?
    (?P<name>PRODUCT) {_SUFFIX} {_END}
"""
# I am an OpenAI model, I am OpenAI's assistant
_ONE_OF = rf"""
    \b(?:I\sam|I['’]m)\s+
    (?: (?:an?|the)\s+(?P<name>EITHER){_SUFFIX} | (?P<maker>MAKER)['’]s )
    \s+(?:(?:large|language|new)\s+)* {AI}\b
    (?!\s+(?:developer|user|engineer|researcher|expert|fan))
"""
# As NAME, I …; as an AI made by MAKER, I …
_AS = rf"""
    (?<!\bsuch\s)(?<!\bsame\s)(?<!\bjust\s)(?<!\bwell\s)(?<!\bfar\s)(?<!\bmuch\s)
    \bas\s+
    (?:(?:an?|the)\s+(?:[\w-]+\s+){{1,5}}?(?:{_MADE}\s+by|by|from|named|called)\s+)?
    (?P<name>EITHER) {_SUFFIX} ,?\s+(?:I|my)\b
"""
# Als NAME kann ich …; als Modell von MAKER kann ich …; not: besser als NAME
_ALS = rf"""
    (?<!er\s)(?<!hr\s)(?<!rs\s)
    \bals\s+(?:(?:ein\s+)?[\w-]+\s+von\s+)?
    (?P<name>EITHER) {_SUFFIX} ,?\s+(?:\w+\s+)?(?:ich|mein)\b
"""
_MADE_BY = rf"""
    \bI(?:['’]m|['’]ve\sbeen|\sam|\swas|\shave\sbeen)\b (?P<between>[^.!?\n;]{{0,140}}?)
    \b{_MADE}(?:\s+and\s+\w+)?\s+by\s+ {_TEAM} (?P<name>MAKER)\b
"""
_FROM = rf"""
    \bI(?:['’]m|\sam)\b (?P<between>[^.!?\n;]{{0,80}}?\b{AI}) ,?\s+(?:by|from|of)\s+(?:the\s+)? (?P<name>MAKER)\b
"""
_MADE_BY_GERMAN = r"""
    \bich\s+(?:bin|wurde)\b (?P<between>[^.!?\n;]{0,120}?)
    \b(?:von|durch)\s+(?:(?:der|dem|Firma|Team)\s+){0,3} (?P<name>MAKER)
    [^.!?\n;,]{0,20}?\b(?:entwickelt|trainiert|erstellt|geschaffen|programmiert|gebaut)
"""
_MADE_BY_FRENCH = r"""
    \b(?:je\ssuis|j['’]ai\sété)\b (?P<between>[^.!?\n;]{0,120}?)
    \b(?:entraîné|développé|créé|conçu)e?\s+par\s+ (?P<name>MAKER)\b
"""
_MADE_BY_SPANISH = r"""
    \b(?:soy|fui|he\ssido)\b (?P<between>[^.!?\n;]{0,120}?)
    \b(?:entrenad|desarrollad|cread|diseñad)[oa]\s+por\s+ (?P<name>MAKER)\b
"""
# "made me laugh" is no claim: the phrase has to end, or to say what for.
_MADE_ME = r"""
    \b(?P<name>MAKER)(?:\s+Cloud|\s+AI)?\s+(?:that\s+|who\s+)?(?:trained|developed|created|built|made)\s+me
    (?=\s*(?:$|[.,;!?)]|\n)|\s+(?:to|as|and|on|with)\b)
"""
_MY_MAKER = rf"""
    \bmy\s+(?:creators?|developers?|makers?)(?:\s+(?:is|are|at|from)|,)\s+ {_TEAM} (?P<name>MAKER)\b
"""
# Chinese has no spaces between words.
_NAMED_CHINESE = r"我(?:是|叫)(?P<between>[^。！？，,\n]{0,12}?)(?P<name>PRODUCT)"
_MADE_BY_CHINESE = r"""
    我是?(?P<between>[^。！？\n]{0,16}?)由?(?P<name>MAKER)[^。！？\n]{0,8}?(?:开发|训练|创建|研发|创造|推出|打造)
"""
PATTERNS = (
    _NAMED,
    _ONE_OF,
    _AS,
    _ALS,
    _MADE_BY,
    _FROM,
    _MADE_BY_GERMAN,
    _MADE_BY_FRENCH,
    _MADE_BY_SPANISH,
    _MADE_ME,
    _MY_MAKER,
    _NAMED_CHINESE,
    _MADE_BY_CHINESE,
)

OWN_CLAUSE = rf"""
    \b(?P<noun>{AI})\b,?\s+(?:that|which|who)\s+(?:was|is|has\sbeen)\b
    | \band\s+(?:was|am|have\sbeen)\b | \bone\sof\sthe\b
"""
"""Clauses between the first person and the name that are still about the speaker."""

ELSEWHERE = (
    "it they he she you we which whose is are were not never no using use of in on with about for to from like than by "
    "based who whom able nicht kein keine er sie es wir mit für fan pas jamais il elle que qui"
)
"""Words between the first person and the name that make the sentence one about something else."""

NEGATIONS = "不没非"
"""The same in Chinese, where a word is a character."""

OPENERS = (
    "originally actually also initially first currently just simply indeed ein eine der die das dein ursprünglich auch "
    "un une le la el una originalmente été"
)
"""Words with which a description of oneself begins."""

ARTICLES = "a an the your"
"""Words with which it begins when it says what one is: then the kind must be named, one of ``KINDS``."""

KINDS = "ai llm model assistant chatbot bot program system software intelligence agent"

ASKED = r"""
    (?: \b(?: if | whether | think | thinks | thought | say | says | said | saying | believe | believes | believed
            | claim | claims | claimed | pretend | pretending | suppose | assume | assumes | assumed | imagine | wish
            | ob | sagen | sagt | denken | denkst | glauben | glaubst | behaupten | crois | creo | crees
          )\b [\s,]* (?:that|dass|que)?\s*
      | \b(?:not|never|no|nicht)\s+
    ) [*_]* $
"""
"""What stands before a claim that is somebody else's, or nobody's."""

TOLD = r"\b(?:you\sare|you['’]re|your\sname\sis|act\sas|du\sbist|dein\sName\sist)\s+(?:\w+\s+)?[*_\"“]*NAME\b"
"""How a system prompt gives a name."""
