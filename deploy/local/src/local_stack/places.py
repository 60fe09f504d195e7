"""Where things lie: the recipes beside this package, everything made at run time in `.cache`."""

from pathlib import Path

RECIPES = Path(__file__).resolve().parents[2]
CHECKOUT = RECIPES.parents[1]
CACHE = CHECKOUT / ".cache"
JARS = CACHE / "m2"
