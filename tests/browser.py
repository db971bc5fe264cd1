"""A page goes in, what a real Chromium made of it comes out: errors, answers of scripts, a screenshot.

Through the DevTools protocol, with the client that kaleido brings (choreographer); nothing is downloaded.
"""

import asyncio
import base64
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (apt-get install chromium)")
SECONDS = 180


@dataclass(frozen=True)
class Seen:
    """Errors of the console, of scripts and of the network; what each question answered, in order."""

    errors: tuple[str, ...]
    answers: tuple[Any, ...]


def opened(page: Path, questions: Sequence[str] = (), screenshot: Path | None = None) -> Seen:
    """Open a page, wait until every figure is drawn, and evaluate JavaScript in it, promises awaited."""
    return asyncio.run(asyncio.wait_for(_opened(page, questions, screenshot), SECONDS))


DRAWN = """
new Promise((resolve) => {
  const waiting = () => [...document.querySelectorAll(".plotly-graph-div")].some((div) => !div._fullLayout);
  const look = () => (document.readyState !== "complete" || waiting() ? setTimeout(look, 20) : resolve(true));
  look();
})
"""


async def _opened(page: Path, questions: Sequence[str], screenshot: Path | None) -> Seen:
    from choreographer import Browser

    errors: list[str] = []

    async def thrown(message: dict[str, Any]) -> None:
        details = message["params"]["exceptionDetails"]
        errors.append(details.get("exception", {}).get("description", details["text"]))

    async def logged(message: dict[str, Any]) -> None:
        entry = message["params"]["entry"]
        if entry["level"] in ("error", "warning"):
            errors.append(f"{entry['text']} {entry.get('url', '')}")

    async def said(message: dict[str, Any]) -> None:
        call = message["params"]
        if call["type"] in ("error", "warning", "assert"):
            errors.append(" ".join(str(part.get("value", part.get("description"))) for part in call["args"]))

    async def requested(message: dict[str, Any]) -> None:
        url = message["params"]["request"]["url"]
        if not url.startswith(("file:", "data:", "blob:")):
            errors.append(f"the page asks the network for {url}")

    async with Browser(CHROMIUM, headless=True) as browser:
        tab = await browser.create_tab("about:blank")
        (session,) = tab.sessions.values()
        for event, callback in (
            ("Runtime.exceptionThrown", thrown),
            ("Log.entryAdded", logged),
            ("Runtime.consoleAPICalled", said),
            ("Network.requestWillBeSent", requested),
        ):
            session.subscribe(event, callback)
        for domain in ("Runtime", "Log", "Network", "Page"):
            await session.send_command(f"{domain}.enable")
        size = {"width": 1240, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        await session.send_command("Emulation.setDeviceMetricsOverride", size)
        loaded = session.subscribe_once("Page.loadEventFired")
        await session.send_command("Page.navigate", {"url": page.absolute().as_uri()})
        await loaded
        answers = [await _evaluated(session, question) for question in (DRAWN, *questions)]
        if screenshot is not None:
            shot = await session.send_command("Page.captureScreenshot", {"captureBeyondViewport": True})
            screenshot.write_bytes(base64.b64decode(shot["result"]["data"]))
    return Seen(tuple(errors), tuple(answers[1:]))


async def _evaluated(session: Any, question: str) -> Any:
    call = {"expression": question, "awaitPromise": True, "returnByValue": True}
    result = (await session.send_command("Runtime.evaluate", call))["result"]
    if "exceptionDetails" in result:
        raise AssertionError(f"{question}: {result['exceptionDetails']}")
    return result["result"].get("value")
