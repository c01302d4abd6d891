"""What the policy reads. Each prompt is a text with {placeholders} in prompts.toml; any of them may be a file of the user's.

A recipe names a prompt (`prompt = "search"`) or gives the path of a file with the task (`prompt = "my_prompt.txt"`).
"""

from dataclasses import dataclass, replace

from zerosearch.core.errors import BadConfig, one_of
from zerosearch.core.templates import file_text, read_texts, require_placeholders


@dataclass(frozen=True, slots=True)
class PolicyPrompt:
    """What the policy reads: the task with the {question}, and the line that answers a malformed turn.

    `distil` asks it to boil documents down, for the one agent that does; `rag` finds its {documents} in the task.
    """

    task: str
    malformed: str = ""  # agents of one turn do not use it
    distil: str = ""


POLICY_PROMPTS = {name: PolicyPrompt(**texts) for name, texts in read_texts(__file__, "prompts.toml").items()}
SEARCH, MICRO = POLICY_PROMPTS["search"], POLICY_PROMPTS["micro"]


def policy_prompt(name: str, agent_prompt: PolicyPrompt = SEARCH) -> PolicyPrompt:
    """A built-in prompt by name, or the task in a text file; BadConfig if the file lacks a placeholder of `agent_prompt`'s task.

    Whatever a file does not give (the line for a malformed turn, …) is taken from `agent_prompt`.
    """
    if (text := file_text(name)) is None:
        return POLICY_PROMPTS[one_of("prompt", name, POLICY_PROMPTS)]
    require_placeholders(name, text, [p for p in ("question", "documents") if f"{{{p}}}" in agent_prompt.task])
    return replace(agent_prompt, task=text)


def distil_prompt(name: str) -> str:
    """The text of a file for the step that distils documents; BadConfig if it lacks {query} or {documents}."""
    if (text := file_text(name)) is None:
        raise BadConfig(f"the distilling prompt '{name}' is not a file; give a text file with {{query}} and {{documents}}.")
    require_placeholders(name, text, ("query", "documents"))
    return text
