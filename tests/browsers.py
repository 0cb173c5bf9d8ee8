"""Firefox and WebKit, the browsers of readers who have no Chromium: a page in each.

Playwright drives Firefox, over WebDriver BiDi. WebKit is driven by Selenium; what tests use of
Playwright's page, its page has too.
"""

import os
import shutil
import subprocess
import warnings
from contextlib import contextmanager
from glob import glob

import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

SIZE = (1280, 800)  # of a window, in pixels


@contextmanager
def firefox(playwright):
    """Open a page in the system's Firefox."""
    path = shutil.which("firefox-esr") or shutil.which("firefox")
    if path is None:
        pytest.skip("Firefox is not installed (Debian: apt install firefox-esr)")
    browser = playwright.firefox.launch(channel="moz-firefox", executable_path=path)
    width, height = SIZE
    yield browser.new_page(viewport={"width": width, "height": height})
    browser.close()


@contextmanager
def webkit():
    """Open a page in WebKitGTK's small browser, on a display that nobody sees."""
    driver_path = shutil.which("WebKitWebDriver")
    mini_browser = next(iter(glob("/usr/lib/*/webkit2gtk-4*/MiniBrowser")), None)
    if not (driver_path and mini_browser and shutil.which("Xvfb")):
        pytest.skip("WebKit is not installed (Debian: apt install webkit2gtk-driver xvfb)")
    options = webdriver.WebKitGTKOptions()
    options.binary_location = mini_browser
    options.add_argument("--automation")
    with display() as name:
        service = webdriver.WebKitGTKService(driver_path, env={**os.environ, "DISPLAY": name})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Selenium's own calls raise it
            driver = webdriver.WebKitGTK(options=options, service=service)
        try:
            driver.set_window_size(*SIZE)
            yield WebKitPage(driver)
        finally:
            driver.quit()


@contextmanager
def display():
    """Start an X server; it picks a number that is free, and tells it once it is ready."""
    read, write = os.pipe()
    screen = "x".join(map(str, SIZE))
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", f"{screen}x24"]
    server = subprocess.Popen(
        [*command, "-nolisten", "tcp"], pass_fds=[write], stderr=subprocess.DEVNULL
    )
    os.close(write)
    try:
        with open(read) as told:
            yield ":" + told.readline().strip()
    finally:
        server.terminate()
        server.wait()


class WebKitPage:
    """A page of WebKit's: of Playwright's methods those that the tests of browsers use."""

    def __init__(self, driver):
        self.driver = driver
        self.keyboard = self

    def goto(self, address):
        self.driver.get(address)

    def evaluate(self, function, given=None):
        """Call a function in the page, and wait for what it promises."""
        found = self.driver.execute_async_script(
            "const [given, done] = arguments;"
            f"Promise.resolve(given).then({function}).then("
            "    (value) => done({ value }), (error) => done({ error: String(error) }));",
            given,
        )
        if "error" in found:
            raise RuntimeError(found["error"])
        return found["value"]

    def add_script_tag(self, content):
        self.evaluate(
            """(content) => {
                const script = document.createElement("script");
                script.textContent = content;
                document.head.append(script);
            }""",
            content,
        )

    def click(self, selector):
        found = self.driver.find_element(By.CSS_SELECTOR, selector)
        place = '{ block: "center", behavior: "instant" }'  # the theme's header covers the top
        self.driver.execute_script(f"arguments[0].scrollIntoView({place})", found)
        found.click()

    def press(self, key):
        """Press a key, by its name in the browsers: "ArrowLeft", "Space"."""
        name = key.replace("Arrow", "Arrow_").upper()
        ActionChains(self.driver, duration=0).send_keys(getattr(Keys, name)).perform()
