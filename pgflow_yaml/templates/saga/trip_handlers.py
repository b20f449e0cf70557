"""The functions of trip.flow.yaml. Each may be called again: the key makes it the same booking."""

from pgflow_yaml import Context, PermanentError


def book(what: str, traveller: str, ctx: Context) -> str:
    """Book it, under a key that another attempt would use again."""
    return f"{what} for {traveller}, {ctx.idempotency_key[:8]}"


def pay(card: str) -> str:
    """Pay; what no further attempt can change is a PermanentError."""
    if card == "declined":
        raise PermanentError("the card was declined")
    return "paid"


def cancel(booking: str) -> str:
    """Undo a booking."""
    return f"cancelled: {booking}"
