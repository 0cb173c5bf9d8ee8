"""A figure's two lives: a widget where there is a kernel, and a page's own
where there is none."""

import html
import json
from base64 import b64encode
from collections.abc import Mapping

import anywidget
import traitlets

from vit_tutorial.widgets.bundle import (
    declared,
    style_sheet,
    widget_script,
)
from vit_tutorial.widgets.packing import bundled_name, unpack
from vit_tutorial.widgets.pictures import check_packed
from vit_tutorial.widgets.still import speakable

HEAVY = 500_000  # bytes of weights that a page loads only when asked to


class Figure(anywidget.AnyWidget):
    """An interactive figure, alive in a notebook and in the book's pages.

    A subclass names its JavaScript module, `script = "cutter"`, has the traits
    that the module declares, tagged `sync=True`, and draws itself once for
    readers without JavaScript. The module's `render({model, el})` is the same
    in both lives.

    Shown in a notebook it is a widget, and carries as `text/html` a picture,
    what the picture shows in words, and the state as data. That is what the
    notebook stores and the book displays; the book's one script brings it to
    life (host.js). There is no code in it and no id, and the same state gives
    the same text on every machine.

    A trait tagged `model=True` holds what `page_model` makes of a model. Where
    that is a bundled checkpoint, its name stands for it in the HTML, and the
    page loads the weights when they are needed; many weights, when its reader
    asks for them.

    Raises TypeError for a subclass whose traits are not those of its module.
    """

    script: str
    STATE: tuple[str, ...] = ()  # traits that a reader changes
    INPUTS: tuple[str, ...] = ()  # traits that the state has to fit
    _built = False

    def __init__(self, **traits):
        own = self._trait_validators  # a figure may look at an input itself
        inputs = tuple(name for name in self.INPUTS if name not in own)
        self._register_validator(type(self).checked, inputs)
        super().__init__(**traits)
        self._built = True

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "script" in vars(cls):
            cls._esm = widget_script(cls.script)
            cls._css = style_sheet(cls.script)
            cls.STATE, cls.INPUTS = declared(cls.script)
            check_declared(cls)

    def still(self) -> tuple[str, str]:
        """Draw the figure as it is: an SVG, legible on light and dark, and what
        it shows in words.

        Numbers are to be rounded so that another CPU gives the same text.
        """
        raise NotImplementedError(f"{type(self).__name__} has no still()")

    def state(self) -> dict:
        """Collect the traits that the figure's front end reads and writes."""
        names = sorted((*self.STATE, *self.INPUTS))
        return {name: getattr(self, name) for name in names}

    def checked(self, proposal):
        """Refuse an input with which this figure cannot be drawn.

        The state stays as it is, so it has to fit: a figure that shows its
        third picture takes no list of two.
        """
        trait, value = proposal["trait"], proposal["value"]
        if trait.metadata.get("model"):
            check_model(trait.name, value)
        elif trait.name == "pictures":
            check_packed("pictures", value)
        elif trait.name == "picture":
            check_packed("picture", [value])
        if self._built:
            before = self._trait_values.get(trait.name)
            self._trait_values[trait.name] = value
            try:
                for name in sorted(self.STATE):
                    self.traits()[name]._cross_validate(
                        self, getattr(self, name)
                    )
                self.still()
            except Exception as error:
                raise ValueError(
                    f"this {trait.name} does not fit the figure: {error}"
                ) from error
            finally:
                self._trait_values[trait.name] = before
        return value

    def to_html(self) -> str:
        """Write the figure as the book's pages take it.

        Raises ValueError for a trait that JSON cannot hold, such as one with a
        NaN.
        """
        state = self.state()
        bundled = {
            name: bundled_name(state[name])
            for name in self.trait_names(model=True)
        }
        bundled = {
            name: found for name, found in sorted(bundled.items()) if found
        }
        state |= {name: {"bundled": found} for name, found in bundled.items()}
        drawing, words = self.still()
        names = " ".join(dict.fromkeys(bundled.values()))
        models = f' data-models="{html.escape(names)}"' if names else ""
        weights = sum(len(getattr(self, name)["data"]) for name in bundled)
        if (size := weights * 3 // 4) > HEAVY:  # in base64
            models += f' data-weight="{size / 1e6:.1f} MB"'
        data = as_json(state).replace("<", "\\u003c")  # no tag in it
        source = b64encode(drawing.encode()).decode()
        return (
            f'<div class="vt-live" data-figure="{self.script}"{models}>\n'
            f'<img class="dark-light" alt="{html.escape(speakable(words))}" '
            f'src="data:image/svg+xml;base64,{source}">\n'
            f'<script type="application/json">{data}</script>\n'
            "</div>"
        )

    def _repr_mimebundle_(self, **kwargs):
        data, metadata = super()._repr_mimebundle_(**kwargs) or ({}, {})
        return {
            **data,
            "text/plain": self.still()[1],
            "text/html": self.to_html(),
        }, metadata


def check_declared(figure: type[Figure]) -> None:
    """Raise TypeError unless a figure has the traits its module declares."""
    traits = {
        name
        for name, trait in vars(figure).items()
        if isinstance(trait, traitlets.TraitType) and trait.metadata.get("sync")
    }
    declared_ = {*figure.STATE, *figure.INPUTS}
    for names, place in [
        (traits - declared_, f"{figure.script}.js declares no"),
        (declared_ - traits, f"{figure.__name__} has no trait"),
    ]:
        if names:
            raise TypeError(f"{place} {', '.join(sorted(names))}")


def as_json(state: Mapping) -> str:
    """Write a figure's state; raises ValueError that names the trait that JSON
    cannot hold."""
    for name, value in state.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{name} holds what no page can read: {error}"
            ) from None
    return json.dumps(state, separators=(",", ":"))


def check_model(name: str, payload: Mapping) -> None:
    try:
        unpack(payload)
    except Exception as error:
        raise ValueError(
            f"{name} is a model as page_vit or page_cnn packs it, which this "
            f"is not: {error!r}"
        ) from error
