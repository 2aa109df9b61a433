"""A headless Chromium, and a page in it that asks for nothing and complains of nothing."""

import shutil

import pytest

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed; it drives the page")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not path:
        pytest.skip("there is no Chromium on this machine; the page is driven in one (apt-get install chromium)")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, tmp_path):
    """A function that opens HTML as a file; in the end no error may have been told and nothing else been asked for."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    faults, asked = [], []

    def opened(html: str, width: int = 1400):
        (tmp_path / "leaderboard.html").write_text(html)
        page = context.new_page()
        page.set_viewport_size({"width": width, "height": 1000})
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: faults.append(dialog.message))
        page.on("request", lambda request: asked.append(request.url))
        page.goto((tmp_path / "leaderboard.html").as_uri())
        return page

    yield opened
    context.close()
    assert not faults
    assert all(url.startswith((tmp_path.as_uri(), "data:")) for url in asked)
