"""The page in a browser, as a person uses it. Needs Chromium and its driver, which CI installs."""

import io
import json
import shutil

import cv2
import numpy as np
import pytest

from rvm_training.offline.pipeline import Settings
from rvm_training.offline.recordings import recordings
from rvm_training.report.write import of_engine

pytest.importorskip("selenium")

from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

DRIVER, BROWSER = shutil.which("chromedriver"), shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(not DRIVER or not BROWSER, reason="needs Chromium and chromedriver")


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1400,1200"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser, engine, eventful, tmp_path):
    """The report of the eventful bag, loaded and drawn."""
    (recording,) = recordings([str(eventful)])
    of_engine(recording, engine, tmp_path / "report.html", 100, Settings())
    browser.get((tmp_path / "report.html").as_uri())
    wait(browser, "frame", "0")
    yield browser
    assert browser.get_log("browser") == [], "errors on the console"


def wait(page, name, value):
    """Until the page says so of itself."""
    WebDriverWait(page, 10).until(lambda page: page.execute_script(f"return document.body.dataset.{name}") == value)


def canvas(page, name):
    """Pixels of a picture on the page, [H, W, 3]."""
    data = io.BytesIO(page.find_element(By.ID, name).screenshot_as_png).getvalue()
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def test_pictures_are_drawn_and_change_with_the_frame(page):
    before = {name: canvas(page, name) for name in ("input", "pca", "segmentation", "overlay")}
    assert all(pixels.std() > 5 for pixels in before.values())
    assert canvas(page, "similarity").std() < 30, "nothing was clicked"
    page.find_element(By.TAG_NAME, "body").send_keys(Keys.ARROW_RIGHT)
    wait(page, "frame", "1")
    assert np.abs(canvas(page, "input").astype(int) - before["input"]).mean() > 5
    assert page.find_element(By.ID, "clock").text.startswith("0.100 s, frame 2 of 11, ")


def test_a_click_on_a_patch_shows_its_cosine_over_the_frames(page):
    element = page.find_element(By.ID, "overlay")
    size = element.size
    # The patch of the second row and third column of 2x3.
    ActionChains(page).move_to_element_with_offset(
        element, size["width"] * 0.35, size["height"] * 0.25
    ).click().perform()
    wait(page, "patch", "5")
    shown = page.execute_script("return Array.from(cosines(track.frames[3]))")
    token = page.execute_script("return Array.from(query.token)")
    tokens = np.array(page.execute_script("return Array.from(tokens(track.frames[3]))")).reshape(6, -1)
    np.testing.assert_allclose(shown, tokens @ token, rtol=1e-5)
    own = page.execute_script("return Array.from(cosines(track.frames[0]))")
    assert own[5] == pytest.approx(1, abs=0.02)
    assert canvas(page, "similarity").std() > 30
    assert "here (±" in page.find_element(By.ID, "probe").text
    assert len(page.find_elements(By.CSS_SELECTOR, "canvas[data-plot=match]")) == 1


def test_events_and_plots_lead_to_their_frames(page):
    rows = page.find_elements(By.CSS_SELECTOR, "#events tr")
    assert [row.text.split(" ")[2] for row in rows] == ["gap", "reset"]
    rows[0].find_element(By.TAG_NAME, "button").click()
    wait(page, "frame", "6")
    plot = page.find_element(By.CSS_SELECTOR, "canvas[data-plot=rate]")
    ActionChains(page).move_to_element_with_offset(plot, -plot.size["width"] // 2 + 2, 0).click().perform()
    wait(page, "frame", "0")


def test_the_run_plays_and_cameras_change(page):
    page.find_element(By.ID, "speed").send_keys("0.25")
    page.find_element(By.ID, "play").click()
    WebDriverWait(page, 10).until(lambda page: page.execute_script("return Number(document.body.dataset.frame)") > 0)
    page.find_element(By.ID, "play").click()
    assert page.find_element(By.ID, "play").text == "Play"
    page.find_elements(By.CSS_SELECTOR, "#cameras button")[1].click()
    wait(page, "frame", "0")
    assert page.find_element(By.ID, "events-title").text == "No gap, reset or refused image"
    assert json.loads(page.find_element(By.ID, "data").get_attribute("textContent"))["tracks"][1]["camera"] == "rear"


def test_a_run_of_hours_is_drawn(page):
    """As many frames as 80 minutes have at 30 Hz."""
    page.execute_script(
        "const n = 150000; track.times_s = Array.from({length: n}, (_, i) => i / 30);"
        "track.delays_ms = track.times_s.map(() => 5); makePlots(); plots.forEach((plot) => plot.draw());"
    )
    assert "median 30.0" in page.find_element(By.ID, "plots").text


def test_a_jump_while_it_plays_is_kept(page):
    page.find_element(By.ID, "play").click()
    page.find_elements(By.CSS_SELECTOR, "#events button")[0].click()
    WebDriverWait(page, 10).until(lambda page: page.execute_script("return Number(document.body.dataset.frame)") > 6)
    page.find_element(By.ID, "play").click()
