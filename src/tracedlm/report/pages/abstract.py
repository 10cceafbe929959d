"""What the numbers of a study show, in sentences made from its tables.

States no more than they do, and says where they show nothing.
"""

from tracedlm.report.pages.certificate_sentences import association, calibrated, certified, forward
from tracedlm.report.pages.exit_sentences import Tables, carried, curves, saving, times, verdicts
from tracedlm.report.tables.costs import took

PARAGRAPHS = {
    "Saved and lost": saving,
    "At equal cost": verdicts,
    "Over all budgets": curves,
    "Settings carried over": carried,
    "In time": times,
    "Certified": certified,
    "Sharper readouts": calibrated,
    "Concentration": association,
    "After a stop": forward,
    "Cost of the study": took,
}


def abstract(tables: Tables) -> dict[str, str]:
    """Paragraphs by their titles for the head of the page; one with nothing to say is left out."""
    return {title: said for title, say in PARAGRAPHS.items() if (said := say(tables))}
