"""What the numbers of a study show, in sentences made from its tables. States no more than they do, and says where they show nothing."""

from tracedlm.report.certificate_sentences import association, calibrated, certified, forward
from tracedlm.report.exit_sentences import Tables, carried, curves, saving, times, verdicts


def abstract(tables: Tables) -> list[str]:
    """Paragraphs for the head of the page."""
    of_exits = [saving(tables), verdicts(tables), curves(tables), carried(tables), times(tables)]
    of_certificates = [certified(tables), calibrated(tables), association(tables), forward(tables)]
    return [paragraph for paragraph in (*of_exits, *of_certificates) if paragraph]
