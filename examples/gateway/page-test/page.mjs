// What the page promises, in headless Chromium. GATEWAY: its address; BROWSER: Chromium's program; MODULES: where playwright-core
// is; PICTURES: a directory for screenshots, if any are wanted.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";

const { GATEWAY, BROWSER, MODULES, PICTURES } = process.env;
const { chromium } = createRequire(join(MODULES, "package.json"))("playwright-core");

const PHONE = { width: 390, height: 844 };
const DESK = { width: 1280, height: 800 };
const MARKUP = "<img src=x onerror=document.title='broken'>";

const browser = await chromium.launch({ executablePath: BROWSER, args: ["--no-sandbox"] });

/** Runs `check` with a page that has had its first frame; what the page complains of fails it. */
async function visit(options, check) {
  const context = await browser.newContext({ viewport: DESK, ...options });
  const page = await context.newPage();
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => { if (message.type() === "error") complaints.push(message.text()); });
  page.on("request", (request) => { if (!request.url().startsWith(GATEWAY)) complaints.push(`a request to ${request.url()}`); });
  await page.goto(GATEWAY);
  await page.waitForFunction(() => document.querySelectorAll("#now li").length > 3 && document.querySelectorAll("#board li").length > 3
    && document.querySelectorAll("#trending li").length > 3, null, { timeout: 30000 });
  await check(page);
  assert.deepEqual(complaints, []);
  await context.close();
}

const number = async (page, id) => Number(await page.locator(id).getAttribute("data-value"));
const grows = (page, from) => page.waitForFunction((from) => Number(document.getElementById("total").dataset.value) > from, from);
const focused = (page) => page.evaluate(() => document.activeElement.getAttribute("aria-label") ?? document.activeElement.id);

async function ticks(page) {
  await grows(page, await number(page, "#total"));
  assert.equal(await page.locator("#status-text").textContent(), "Live");
  const ranks = await page.locator("#board .rank").allTextContents();
  assert.equal(ranks[0], "1");
  assert.ok((await page.locator("#spark-line").getAttribute("d")).startsWith("M0.0,"));
  // An item's name is text, whatever it looks like.
  const view = () => page.request.post(`${GATEWAY}/v1/views/${encodeURIComponent(MARKUP)}`, { headers: { prefer: "respond-async" } });
  for (let round = 0; round < 30; round++) await Promise.all(Array.from({ length: 50 }, view));
  await page.locator("#trending .name", { hasText: MARKUP }).waitFor();
  assert.equal(await page.title(), "Views, live");
}

/** Landmarks, headings in order, names of all that can be pressed, a polite and quiet live region. */
async function isRead(page) {
  const found = await page.evaluate(() => ({
    landmarks: ["header", "main", "footer"].map((name) => document.querySelectorAll(`body > ${name}`).length),
    headings: [...document.querySelectorAll("h1, h2")].map(({ tagName }) => tagName),
    sections: [...document.querySelectorAll("section")].every((one) => document.getElementById(one.getAttribute("aria-labelledby"))),
    nameless: [...document.querySelectorAll("button, a")].filter((one) => !(one.getAttribute("aria-label") ?? one.textContent).trim()).length,
    language: document.documentElement.lang,
    live: [...document.querySelectorAll("[aria-live]")].map((one) => one.getAttribute("aria-live")),
  }));
  assert.deepEqual(found, { landmarks: [1, 1, 1], headings: ["H1", "H2", "H2", "H2", "H2"], sections: true, nameless: 0, language: "en", live: ["polite"] });
  const said = page.locator("#said");
  assert.match(await said.textContent(), /views, .* a second\..* leads today with/);
  await page.evaluate(() => {
    window.saidTimes = 0;
    new MutationObserver(() => window.saidTimes++).observe(document.getElementById("said"), { childList: true, characterData: true, subtree: true });
  });
  const [from, start] = [await number(page, "#total"), Date.now()];
  for (let frame = 0; frame < 4; frame++) await grows(page, await number(page, "#total"));
  assert.ok((await number(page, "#total")) > from);
  const intervals = Math.floor((Date.now() - start) / 15000);
  assert.ok((await page.evaluate(() => window.saidTimes)) <= 1 + intervals, "a reader is not told of each tick");
}

/** From the keyboard alone: skip, pause, like, and the focus stays where it is while lists move. */
async function isPressed(page) {
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
  assert.notEqual(await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle), "none", "the focus is seen");
  await page.keyboard.press("Enter");
  assert.equal(await focused(page), "main");

  await page.locator("#pause").focus();
  await page.keyboard.press("Enter");
  assert.equal(await page.locator("#pause").getAttribute("aria-pressed"), "true");
  const still = await number(page, "#total");
  await new Promise((resolve) => { setTimeout(resolve, 2500); });
  assert.equal(await number(page, "#total"), still, "paused, nothing moves");
  await page.keyboard.press("Space");
  await grows(page, still);

  const like = page.locator("#now .like").nth(1);
  await like.focus();
  const name = await focused(page);
  const item = /^Like (.*), /.exec(name)[1];
  await page.keyboard.press("Enter");
  await page.locator(`#now .like[aria-pressed="true"]`).waitFor();
  assert.equal(await page.locator("#said").textContent(), `You like ${item}.`);
  const actor = await page.evaluate(() => JSON.parse(localStorage.getItem("actor")));
  const liked = async () => (await (await page.request.get(`${GATEWAY}/v1/likes/${encodeURIComponent(item)}?actor=${actor}`)).json()).liked;
  assert.equal(await liked(), true);
  for (let frame = 0; frame < 3; frame++) await grows(page, await number(page, "#total"));
  assert.ok((await focused(page)).startsWith(`Like ${item}, `), "the focus stays");
  await page.keyboard.press("Enter");
  await page.waitForFunction((item) => document.getElementById("said").textContent === `You no longer like ${item}.`, item);
  assert.equal(await liked(), false);

  const view = page.locator("#now .view").first();
  await view.focus();
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => /^Your view of .* is counted\.$/.test(document.getElementById("said").textContent));
}

/** Nothing sticks out, everything can be hit with a thumb, and text can be read on its ground. */
async function isSeen(page) {
  const found = await page.evaluate(() => {
    const luminance = (colour) => {
      const [r, g, b] = colour.match(/[\d.]+/g).map((part) => { const c = part / 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; });
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = (one) => { for (let at = one; at; at = at.parentElement) { const colour = getComputedStyle(at).backgroundColor; if (!/, 0\)$/.test(colour)) return colour; } return "rgb(255,255,255)"; };
    const contrast = (one, colour) => { const [a, b] = [luminance(getComputedStyle(one).color), luminance(colour)].sort((x, y) => y - x); return (a + 0.05) / (b + 0.05); };
    const washed = (row) => getComputedStyle(row, "::before").backgroundColor;
    const texts = [...document.querySelectorAll("h1, h2, p, figcaption, strong, small, .name, .number, .rank, button")].filter((one) => one.textContent.trim() && one.offsetParent && !one.matches("#said"));
    const small = [...document.querySelectorAll("button")].filter((one) => { const { width, height } = one.getBoundingClientRect(); return width < 44 || height < 44; });
    return {
      tooWide: document.documentElement.scrollWidth > document.documentElement.clientWidth,
      pale: texts.filter((one) => contrast(one, ground(one)) < 4.5 || (one.closest("li") && !one.matches("button") && contrast(one, washed(one.closest("li"))) < 4.5)).map((one) => one.className || one.tagName),
      small: small.length,
      ground: getComputedStyle(document.body).backgroundColor,
    };
  });
  assert.deepEqual({ ...found, ground: "" }, { tooWide: false, pale: [], small: 0, ground: "" });
  return found.ground;
}

async function picture(page, name) {
  if (PICTURES) await page.screenshot({ path: join(PICTURES, `gateway-${name}.png`) });
}

/** Nothing runs, slides or blinks where that is asked for, and the numbers still change. */
async function isStill(page) {
  await page.emulateMedia({ reducedMotion: "reduce" });
  const animations = () => page.evaluate(() => document.getAnimations().length);
  await page.waitForFunction(() => document.getAnimations().length === 0);
  assert.equal(await page.evaluate(() => getComputedStyle(document.querySelector(".dot")).animationName), "none");
  await grows(page, await number(page, "#total"));
  assert.equal(await animations(), 0);
}

for (const [size, viewport] of [["phone", PHONE], ["small", { width: 320, height: 568 }], ["desk", DESK]]) {
  const touch = size !== "desk";
  await visit({ viewport, isMobile: touch, hasTouch: touch, deviceScaleFactor: PICTURES && size === "phone" ? 1.5 : 1 }, async (page) => {
    const grounds = new Set();
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      if (PICTURES) await new Promise((resolve) => { setTimeout(resolve, 3000); });
      grounds.add(await isSeen(page));
      if (size !== "small") await picture(page, `${size}-${colorScheme}`);
    }
    assert.equal(grounds.size, 2, "light and dark differ");
    console.log(`ok: it can be seen on a ${size} screen, light and dark`);
    if (touch) return;
    await ticks(page);
    await isRead(page);
    await isPressed(page);
    console.log("ok: it ticks, is read out quietly, and works from the keyboard");
    await isStill(page);
    console.log("ok: nothing moves where that is asked for");
  });
}

await browser.close();
