"""The words of ``judging``: names of other models and makers, negations, and how a speaker speaks of itself.

Data, not logic. Words that are often something else (Nova, Sonar, Meta, Phi) count only beside a word that makes the
meaning clear, which is written out here.
"""

_OTHER_SCRIPT = "一-鿿぀-ヿ가-힯"
START = rf"(?<![^\W{_OTHER_SCRIPT}])"
"""Where a word begins; Chinese, Japanese and Korean put none of their own between a name and what is before it."""
END = rf"(?![^\W{_OTHER_SCRIPT}])"

_VENDORS = {
    "OpenAI": r"open\s?ai|chat\s?gpt|gpt-?[2345][\w.-]*|gpt",
    "Anthropic": r"anthropic|claude(?!\s+(?:monet|debussy))",
    "Google": r"google|deep\s?mind|gemini|gemma|bard",
    "Alibaba": r"alibaba|qwen|qwq|tongyi|通义千问|千问|阿里巴巴|阿里云",
    "Meta": r"meta\s+ai|(?:by|at|from|of|von|bei|par|por|da|de)\s+meta|facebook|llama[\s-]?\d?",
    "Mistral": r"mistral|mixtral|ministral",
    "DeepSeek": r"deep\s?seek|深度求索",
    "Microsoft": r"microsoft|copilot|phi-\d",
    "xAI": r"xai|grok",
    "Amazon": r"amazon|alexa",
    "Apple": r"siri",
    "Moonshot": r"moonshot|kimi|月之暗面",
    "Baidu": r"baidu|ernie\s+bot|文心一言|百度",
    "Zhipu": r"zhipu|chatglm|glm-\d|智谱",
    "Tencent": r"tencent|hunyuan|腾讯|混元",
    "ByteDance": r"bytedance|doubao|字节跳动|豆包",
    "IBM": r"ibm|watsonx",
    "NVIDIA": r"nvidia|nemotron",
    "Cohere": r"cohere|command\s?r\+?",
    "Hugging Face": r"hugging\s?face|smol\s?lm",
    "Perplexity": r"perplexity",
    "Stanford": r"alpaca|vicuna",
}
VENDORS = {maker: rf"{START}(?:{names})(?:\s?\d[\w.]*)?{END}" for maker, names in _VENDORS.items()}
"""Maker → regular expression of its own name and those of its models, in the scripts in which they are written."""

NEGATIONS = r"""
    (?<!\w)(?:not(?!\s+(?:only|just))|never|neither|nor|no|none|nothing|cannot|isn.?t|aren.?t|wasn.?t|don.?t|doesn.?t
      |didn.?t|can.?t)(?!\w)
    | (?<!\w)(?:nicht(?!\s+nur)|nie|niemals|kein\w*|weder|nichts)(?!\w)
    | (?<!\w)(?:pas|jamais|ni|non|aucun\w*|rien)(?!\w)
    | (?<!\w)(?:nunca|tampoco|ningún\w*|ninguna|nada|não|nem|nenhum\w*|mai|nessun\w*|né)(?!\w)
    | (?<!\w)(?:niet|geen|nooit|inte|ikke|не|ни)(?!\w)
    | 不(?!仅|过|错|断|同|只|用) | 没(?!问题|关系) | 並非 | 并非
"""
"""Of what stands after one of these in a clause, the clause says the opposite."""
NEGATIONS_AFTER = r"ではな|じゃな|ではあり|じゃあり|아니|아닙|değil|(?<!\w)bin\s+ich\s+nicht(?!\w)"
"""The same of what stands before: Japanese, Korean, Turkish, and German with the name first."""

FIRST_PERSON = r"""
    (?<!\w)(?:i|i.m|i.ve|me|my|mine|myself|we|us|our|ich|mich|mir|mein\w*|uns\w*|wir)(?!\w)
    | (?<!\w)(?:je|j|moi|mon|ma|mes|me|m|nous|notre|suis)(?!\w)
    | (?<!\w)(?:yo|soy|mi|mis|me|fui|estoy|nosotros|eu|sou|meu|minha|fui|io|sono|mio|mia|mi)(?!\w)
    | (?<!\w)(?:ik|ben|mijn|mij|jag|är|jeg|mig|min|я|меня|мой|мне|моё|ben(?:im)?)(?!\w)
    | 我 | 私 | わたし | 僕 | 저는 | 나는 | 제
"""
"""A clause with one of these is about the speaker."""

IDENTITY = r"""
    (?<!\w)(?:am|i.m|was|been|is|are|name\w*|called|call|made|created|trained|developed|built|designed|powered|based|model
      |assistant|chatbot|ai|creators?|makers?|developers?)(?!\w)
    | (?<!\w)(?:bin|wurde|heiße|heisse|ist|entwickelt|trainiert|erstellt|gemacht|geschaffen|nennt)(?!\w)
    | (?<!\w)(?:suis|été|appelle|est|créée?s?|développée?|entraînée?|conçue?)(?!\w)
    | (?<!\w)(?:soy|fui|llamo|es|ha\s+sido|cread[oa]|entrenad[oa]|desarrollad[oa]|creó|entrenó|desarrolló)(?!\w)
    | (?<!\w)(?:sou|chamo|é|criad[oa]|treinad[oa]|desenvolvid[oa]|sono|chiamo|stat[oa]|creat[oa]|sviluppat[oa])(?!\w)
    | (?<!\w)(?:ben|heet|är|heter|er|hedder|gemaakt|ontwikkeld|зовут|создан\w*|разработан\w*|это)(?!\w)
    | (?<!\w)я\s+[—-]?\s*(?=[a-z])
    | 是 | 叫 | 由 | です | だ | ます | 이에요 | 입니다
"""
"""A clause about the speaker with one of these says what the speaker is, or who made it."""
ORIGIN = r"""
    ^\W*(?:as\s+(?:an?|the)\s+|als\s+(?:ein\w*\s+)?|en\s+tant\s+qu\S+\s+|como\s+(?:un\w*\s+)?)(?:\w+\s+){0,2}?
      (?:ai|ki|ia|model\w*|modèle|sprachmodell|assistant\w*|asistente|modelo|chatbot)(?!\w)
    | ^\W*(?:originally\s+)?(?:made|created|trained|developed|built|designed|powered|based|entwickelt|trainiert|erstellt
    |créée?|développée?|entraînée?|cread[oa]|entrenad[oa]|desarrollad[oa]|criad[oa]|由)(?!\w)
"""
"""A sentence that begins with one of these is about the speaker, who is not named."""
ASKING = r"""
    ^\W*(?:do|does|did|are|is|can|could|would|who|what|which|how|why|whether|if|bist|hast|meinst|willst|wer|was|wie|ob|est-ce
    |es-tu|êtes|qui|que|comment|si|eres|quién|cómo|qué|quem|como|chi|come|quieres|voulez|möchten|möchtest)(?!\w)
"""
"""How a clause begins that asks, in a sentence that ends in a question mark."""

CLAUSE_ENDS = r"""
    [;:：；,，、()（）—–]+ | \s-\s
    | (?<!\w)(?:but|however|though|whereas|while|aber|sondern|während|mais|pero|sino|ma|però|mas|maar|men|но|а)(?!\w)
    | (?<!\w)and\s+(?=(?:i|i.m|my|was|am|not)(?!\w)) | (?<!\w)und\s+(?=(?:ich|mein\w*|nicht|wurde)(?!\w))
    | (?<!\w)et\s+(?=(?:je|j|mon|ma|non)(?!\w)) | (?<!\w)y\s+(?=(?:soy|mi|me|no|fui)(?!\w))
    | (?<!\w)e\s+(?=(?:sou|sono|meu|mi|não|non|fui)(?!\w))
    | 而是 | 但是 | 但
"""
SENTENCE_ENDS = r"[.!?。！？\n]+"
REPLIES = r"^\W*(?:no|nope|nein|non|não|nee|nej|нет|いいえ|不|不是|아니요)\W*$"
"""A clause of these alone answers a question; it denies nothing that follows."""

COMPARISONS = r"""
    (?<!\w)(?:unlike|than|compared|such\s+as|similar\s+to|(?<=\w\s)like|instead\s+of|rather\s+than|other|others|another|alternative\w*)(?!\w)
    | (?<!\w)(?:anders\s+als|im\s+gegensatz|wie|statt|ähnlich|andere\w*)(?!\w)
    | (?<!\w)(?:contrairement|(?<=\w\s)comme|plutôt|autres?|diferencia|(?<=\w\s)como|otros?|otras?|outros?)(?!\w)
    | (?<!\w)(?:(?<=\w\s)come|altri|altre)(?!\w)
    | 不同于 | 类似 | 像 | とは違 | のような
"""
"""A clause with one of these speaks of others beside the speaker."""

THIRD_PERSON = r"""
    ^\W*(?:the\s+|die\s+|der\s+|das\s+|le\s+|la\s+|el\s+|il\s+|o\s+|a\s+)?NAME\b[\w\s.-]{0,20}?\s+
    (?:is|was|are|were|has|have|can|does|makes?|made\s+(?!me)|offers?|develops?|also|ist|war|hat|kann|sind|wurde
      |est|était|a|sont|es|era|son|tiene|é|è|ha)(?!\w)
"""
"""A clause that begins with a name and says something about it; ``NAME`` stands for the name."""
ABOUT_ME = r"""
    (?<!\w)(?:me|mich|moi|m['’]|mim|mi)(?!\w)|(?:created|made|developed|trained|built)\s+me(?!\w)
    |(?:hat|haben)\s+mich|m['’]a|me\s+(?:creó|entrenó|desarrolló|hizo|criou|ha\s+creato)|我|私を|저를
"""
"""In a clause that begins with a name: it made the speaker."""

QUOTED = r"“[^”]*”|„[^“”]*[“”]|«[^»]*»|「[^」]*」|\"[^\"\n]*\"|`[^`]*`"
"""What is quoted is somebody else's."""
