"""The functions of hello.flow.yaml: plain Python, no import of pgflow-yaml."""


def greet(name: str) -> str:
    """Called with the arguments under `with`."""
    return f"Hello, {name}!"


def shout(outputs: dict[str, str]) -> str:
    """Called with the outputs of the steps it depends on."""
    return outputs["greet"].upper()
