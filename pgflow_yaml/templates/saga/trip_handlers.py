"""The functions of trip.flow.yaml. A repeated call has the same key, so it books only once."""

from pgflow_yaml import Context, PermanentError


def book(what: str, traveller: str, ctx: Context) -> str:
    """Book under a key that is the same in every attempt."""
    return f"{what} for {traveller}, {ctx.idempotency_key[:8]}"


def pay(card: str) -> str:
    """Pay; raise PermanentError for a failure that a retry cannot change."""
    if card == "declined":
        raise PermanentError("the card was declined")
    return "paid"


def cancel(booking: str) -> str:
    """Undo a booking."""
    return f"cancelled: {booking}"
