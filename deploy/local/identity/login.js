// The login page, without a script: a form, its answer, and what is said when something is wrong.
import { createHash, timingSafeEqual } from "node:crypto";
import { readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { errors } from "oidc-provider";

const css = await readFile(new URL("login.css", import.meta.url));
const LONGEST_FORM = 4096;

const WORDS = {
  zh: {
    lang: "zh-CN", other: "en", switch: "English", title: "登录同路", person: "工号", password: "密码", enter: "登录",
    wrong: "工号或密码不对，请再试。", stale: "这个登录页已经过期", again: "请回到刚才的应用，重新登录。", refused: "无法登录",
    whose: "本机演示用的登录服务",
  },
  en: {
    lang: "en", other: "zh", switch: "中文", title: "Sign in to Tonglu", person: "Employee ID", password: "Password", enter: "Sign in",
    wrong: "Wrong employee ID or password. Try again.", stale: "This sign-in page has expired", again: "Go back to the application and sign in again.",
    refused: "Cannot sign in", whose: "Sign-in for the local stack",
  },
};

// Browsers also hold the redirects after a form to form-action, so the application's address must be in it.
const HEADERS = {
  "content-type": "text/html; charset=utf-8",
  "cache-control": "no-store",
  "content-security-policy":
    "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'; "
    + "form-action 'self' http://127.0.0.1:* http://localhost:*",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
};

export function asset(response) {
  response.writeHead(200, { "content-type": "text/css; charset=utf-8", "x-content-type-options": "nosniff" }).end(css);
}

export async function login(provider, people, request, response) {
  const words = spoken(request);
  try {
    await provider.interactionDetails(request, response);
    if (request.method !== "POST") return send(response, 200, form(words));
    const given = await fields(request);
    const person = people.get(given.get("person") ?? "");
    if (person && same(person.password, given.get("password") ?? "")) {
      return await provider.interactionFinished(request, response, { login: { accountId: person.id } });
    }
    return send(response, 401, form(words, given.get("person"), words.wrong));
  } catch (error) {
    if (!(error instanceof errors.OIDCProviderError)) console.error(error);
    return send(response, 400, notice(words, words.stale, words.again));
  }
}

/** What oidc-provider shows instead of a redirect when the request itself is wrong. */
export function errorPage(ctx, out) {
  const words = spoken(ctx.req);
  ctx.set(HEADERS);
  ctx.body = notice(words, words.refused, `${out.error}: ${out.error_description ?? ""}`);
}

function spoken(request) {
  const chosen = new URL(request.url, "http://127.0.0.1").searchParams.get("lang");
  return WORDS[chosen] ?? WORDS[request.headers["accept-language"]?.startsWith("en") ? "en" : "zh"];
}

async function fields(request) {
  if (Number(request.headers["content-length"] ?? Infinity) > LONGEST_FORM) throw new errors.InvalidRequest("form too long");
  return new URLSearchParams(await text(request));
}

/** The file holds passwords as they are, so a slow hash would protect nothing; equal time still does. */
function same(right, given) {
  const digest = (word) => createHash("sha256").update(word).digest();
  return timingSafeEqual(digest(right), digest(given));
}

function send(response, status, html) {
  response.writeHead(status, HEADERS).end(html);
}

function form(words, person = "", wrong = "") {
  return page(words, words.title, `
    <form method="post" action="?lang=${words === WORDS.en ? "en" : "zh"}">
      ${wrong && `<p class="wrong" role="alert" id="wrong">${wrong}</p>`}
      <label for="person">${words.person}</label>
      <input id="person" name="person" type="text" value="${escape(person)}" required maxlength="64"
        autocomplete="username" autocapitalize="none" spellcheck="false" ${wrong ? 'aria-describedby="wrong"' : "autofocus"}>
      <label for="password">${words.password}</label>
      <input id="password" name="password" type="password" required maxlength="256" autocomplete="current-password" ${wrong && "autofocus"}>
      <button>${words.enter}</button>
    </form>
    <a class="quiet" href="?lang=${words.other}" lang="${WORDS[words.other].lang}">${words.switch}</a>`);
}

function notice(words, title, detail) {
  return page(words, title, `<p>${escape(detail)}</p>`);
}

function page(words, title, body) {
  return `<!doctype html>
<html lang="${words.lang}">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="light dark">
  <title>${title}</title>
  <link rel="icon" href="data:,">
  <link rel="stylesheet" href="/login.css">
</head>
<body>
  <main>
    <h1>${title}</h1>${body}
  </main>
  <footer>${words.whose}</footer>
</body>
</html>`;
}

function escape(word) {
  return word.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
}
