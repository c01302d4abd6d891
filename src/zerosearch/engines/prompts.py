"""The prompts of a simulated engine: texts with {placeholders} in prompts.toml, or files of the user's."""

from dataclasses import asdict, dataclass

from zerosearch.core.errors import one_of
from zerosearch.core.templates import file_text, fill, read_texts, require_placeholders
from zerosearch.core.types import Quality, Question

SIMULATOR_PROMPTS = read_texts(__file__, "prompts.toml")


@dataclass(frozen=True, slots=True)
class Imitated:
    """The engine that a simulator stands in for, in the words of its template: "{persona} that searches {domain}", …"""

    persona: str = "a search engine"
    domain: str = "the web"
    language: str = "English"
    words: int = 30  # of a document


WEB = Imitated()


def simulator_text(template: str, question: Question, query: str, quality: Quality, k: int, imitated: Imitated = WEB) -> str:
    """The simulator's prompt for one search, the same in tuning and in use."""
    values = {
        "question": question.text,
        "golden_answers": "; ".join(question.golden_answers),
        "query": " ".join(query.split()),
        "quality": quality.value,
        "k": k,
        **asdict(imitated),
    }
    return fill(template, values)


def simulator_prompt(name: str) -> str:
    """A built-in simulator template by name, or the text of a file; BadConfig if it lacks {query} or {quality}."""
    if (text := file_text(name)) is None:
        return SIMULATOR_PROMPTS[one_of("simulator template", name, SIMULATOR_PROMPTS)]
    require_placeholders(name, text, ("query", "quality"))
    return text
