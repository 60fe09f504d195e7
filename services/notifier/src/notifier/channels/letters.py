"""Templates into words: `templates/<name>.<language>.txt`, the first line being the subject."""

from functools import cache
from pathlib import Path

from jinja2 import FileSystemLoader, StrictUndefined, Template, select_autoescape
from jinja2.sandbox import ImmutableSandboxedEnvironment

from notifier.channels import Message
from notifier.domain import Addressed

TEMPLATES = Path(__file__).parents[1] / "templates"
LANGUAGES = ("zh", "en")

_environment = ImmutableSandboxedEnvironment(
    loader=FileSystemLoader(TEMPLATES),
    autoescape=select_autoescape(["html"]),  # plain text is not HTML; a page would be escaped
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@cache
def _template(name: str, language: str) -> Template:
    return _environment.get_template(f"{name}.{language}.txt")


def compose(notice: Addressed) -> Message:
    """Fill the template; a language without templates reads Chinese.

    The subject is one line whatever the values hold: their own line breaks become spaces.
    """
    language = notice.language if notice.language in LANGUAGES else LANGUAGES[0]
    flat = {name: " ".join(value.split()) for name, value in notice.values.items()}
    text = _template(notice.template, language).render(flat, document_id=notice.document_id)
    subject, _, body = text.partition("\n")
    return Message(
        notice_id=notice.notice_id,
        recipient_id=notice.recipient_id,
        document_id=notice.document_id,
        template=notice.template,
        language=language,
        subject=subject.strip(),
        body=body.strip() + "\n",
        email=notice.email,
    )
