/* The page of the OA: my tasks, one document, 同意 / 退回 / 驳回. Everything goes through Flowable's REST, as me. */
const words = {
  zh: { title: "审批", leave: "退出", signin: "登录", person: "工号", password: "密码", enter: "进入", open: "待办", done: "已办",
    whose: "流程引擎与 REST 接口来自 Flowable，本页面由同路提供。", wrong: "工号或密码不对", away: "OA 没有响应，请稍后再试",
    none: "没有待办", noneDone: "还没有办过", submitter: "提交人", number: "单号", fingerprint: "内容指纹", road: "审批记录",
    opinion: "审批意见", approve: "同意", return: "退回", reject: "驳回", back: "‹ 返回", waiting: "正在审批", needs: "退回或驳回请写明原因",
    gone: "这项待办已被处理", since: "到达", approved: "已同意", rejected: "已驳回", returned: "已退回", details: "摘要", open_claim: "在同路中查看", noted: "知道了", cancelled: "已撤销" },
  en: { title: "Approvals", leave: "Sign out", signin: "Sign in", person: "Employee id", password: "Password", enter: "Enter", open: "To do", done: "Done",
    whose: "Engine and REST by Flowable, this page by Tonglu.", wrong: "Wrong id or password", away: "The OA does not answer, try again soon",
    none: "Nothing to do", noneDone: "Nothing done yet", submitter: "From", number: "Document", fingerprint: "Content hash", road: "Decisions",
    opinion: "Opinion", approve: "Approve", return: "Return", reject: "Reject", back: "‹ Back", waiting: "deciding", needs: "Say why before you return or reject",
    gone: "Somebody has dealt with this task", since: "since", approved: "approved", rejected: "rejected", returned: "returned", details: "Summary", open_claim: "See it in Tonglu", noted: "Got it", cancelled: "cancelled" },
};
const past = { approve: "approved", reject: "rejected", return: "returned" };
const $ = (id) => document.getElementById(id);
const state = { me: "", key: "", tab: "open", language: navigator.language.startsWith("en") ? "en" : "zh", items: [], chosen: null, names: {} };
const t = (word) => words[state.language][word];
const nameOf = (id) => state.names[id] ?? id;
/** What was decided, in our words; a word of somebody else's is shown as it is. */
const said = (outcome) => t(past[outcome]) ?? outcome;
const colours = { approve: "ok", reject: "bad", return: "warn" };

/** An element with text or children; text is never read as HTML. */
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") node.addEventListener("click", value);
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

async function ask(path, options = {}) {
  const answer = await fetch(path, {
    ...options,
    credentials: "omit",
    headers: { authorization: `Basic ${state.key}`, "content-type": "application/json" },
  });
  if (!answer.ok) {
    const why = await answer.json().catch(() => ({}));
    throw Object.assign(new Error(why.exception ?? t("away")), { status: answer.status });
  }
  return answer.status === 200 && options.method ? null : answer.json();
}

const valueOf = (variables, name) => (variables ?? []).find((one) => one.name === name)?.value ?? "";
const clock = (iso) => new Date(iso).toLocaleString(state.language === "zh" ? "zh-CN" : "en-GB",
  { month: "numeric", day: "numeric", hour: "2-digit", minute: "2-digit" });
const amount = (text) => Number.isNaN(Number(text)) ? text
  : text.replace(/\B(?=(\d{3})+(?!\d)(?=\.|$))/g, (_, __, at) => (at > text.indexOf(".") && text.includes(".") ? "" : ","));

async function load() {
  const mine = encodeURIComponent(state.me);
  const found = state.tab === "open"
    ? await ask(`process-api/runtime/tasks?assignee=${mine}&includeProcessVariables=true&sort=createTime&order=desc&size=50`)
    : await ask(`process-api/history/historic-task-instances?taskAssignee=${mine}&finished=true&includeProcessVariables=true&includeTaskLocalVariables=true&sort=endTime&order=desc&size=50`);
  state.items = found.data;
  if (state.tab === "open") $("count").textContent = found.total || "";
  drawList();
}

function drawList() {
  const list = $("list");
  list.replaceChildren(...state.items.map((task) => el("li", {}, line(task))));
  if (!state.items.length) list.append(el("li", { class: "empty" }, t(state.tab === "open" ? "none" : "noneDone")));
}

function line(task) {
  const outcome = valueOf(task.variables?.filter((one) => one.scope === "local"), "outcome");
  const tag = state.tab === "done"
    ? el("span", { class: `tag ${colours[outcome] ?? "warn"}` }, outcome ? said(outcome) : t("cancelled")) : null;
  const from = nameOf(valueOf(task.variables, "submitter"));
  const button = el("button", { class: "card", type: "button", onclick: () => choose(task) },
    el("div", { class: "row sp" }, el("b", { class: "grow" }, valueOf(task.variables, "formTitle") || task.name),
      el("span", { class: "num" }, el("span", { class: "small mute" }, `${valueOf(task.variables, "currency")} `), amount(valueOf(task.variables, "amount")))),
    el("div", { class: "row sp small mute" }, el("span", {}, `${from ? `${from} · ` : ""}${t("since")} ${clock(task.createTime ?? task.startTime)}`), tag));
  if (state.chosen?.id === task.id) button.setAttribute("aria-current", "true");
  return button;
}

async function choose(task) {
  state.chosen = task;
  drawList();
  const road = !task.processInstanceId ? { data: [] } : await ask(`process-api/history/historic-task-instances?processInstanceId=${task.processInstanceId}&includeTaskLocalVariables=true&sort=startTime&order=asc`);
  drawDetail(task, road.data);
  $("work").classList.add("one");
}

/** A task without a process is a note: who has won, where both sides had decided. */
function drawNote(task) {
  const problem = el("p", { class: "hint bad", role: "alert", hidden: "" });
  $("detail").replaceChildren(...[
    el("button", { class: "quiet back", type: "button", onclick: close }, t("back")),
    el("div", { class: "card stack" },
      el("h2", {}, task.name), el("div", {}, task.description ?? ""), problem),
    task.endTime ? null : el("div", { class: "bar" },
      el("button", { class: "main", type: "button", onclick: () => send(task, "approve", "", problem) }, t("noted")))]
    .filter((node) => node !== null));
  $("detail").classList.add("stack");
  $("detail").hidden = false;
}

function drawDetail(task, road) {
  if (!task.processInstanceId) return drawNote(task);
  const get = (name) => valueOf(task.variables, name);
  const opinion = el("textarea", { id: "opinion", rows: "2", maxlength: "500" });
  const problem = el("p", { class: "hint bad", role: "alert", hidden: "" });
  const decide = (outcome) => send(task, outcome, opinion.value.trim(), problem);
  const summary = get("summary");
  $("detail").replaceChildren(...[
    el("button", { class: "quiet back", type: "button", onclick: close }, t("back")),
    el("div", { class: "card stack" },
      el("h2", {}, get("formTitle") || task.name),
      el("div", { class: "money num" }, el("small", {}, get("currency")), amount(get("amount"))),
      el("dl", { class: "facts" },
        el("dt", {}, t("submitter")), el("dd", {}, nameOf(get("submitter")) || "—"),
        el("dt", {}, t("number")), el("dd", { class: "small mute" }, get("documentId") || task.processInstanceId),
        el("dt", {}, t("fingerprint")), el("dd", { class: "small mute num" }, get("contentHash").slice(0, 16))),
      summary ? el("div", {}, el("div", { class: "small mute" }, t("details")), ...summary.split("\n").map((row) => el("div", { class: "num" }, row))) : null,
      /^https?:/.test(get("claimUrl")) ? el("a", { class: "link", href: get("claimUrl"), target: "_blank", rel: "noreferrer" }, t("open_claim")) : null),
    el("div", { class: "card stack" }, el("h2", {}, t("road")), el("ol", { class: "said" }, ...road.map(step))),
    task.endTime ? null : el("div", { class: "card stack" },
      el("label", {}, el("span", {}, t("opinion")), opinion), problem,
      el("div", { class: "bar" },
        el("button", { class: "plain no", type: "button", onclick: () => decide("reject") }, t("reject")),
        el("button", { class: "plain", type: "button", onclick: () => decide("return") }, t("return")),
        el("button", { class: "main", type: "button", onclick: () => decide("approve") }, t("approve"))))]
    .filter((node) => node !== null));
  $("detail").classList.add("stack");
  $("detail").hidden = false;
}

function step(one) {
  const outcome = valueOf(one.variables, "outcome");
  const opinion = valueOf(one.variables, "opinion");
  return el("li", one.endTime ? {} : { class: "wait" },
    el("div", { class: "row sp" }, el("b", {}, nameOf(one.assignee) ?? "—"),
      el("span", { class: "small mute" }, one.endTime ? clock(one.endTime) : "")),
    el("div", { class: "mute" }, one.endTime ? `${outcome ? said(outcome) : t("cancelled")}${opinion ? ` · ${opinion}` : ""}` : t("waiting")));
}

async function send(task, outcome, opinion, problem) {
  problem.hidden = true;
  if (outcome !== "approve" && !opinion) {
    problem.textContent = t("needs");
    problem.hidden = false;
    $("opinion").focus();
    return;
  }
  const local = (name, value) => ({ name, value, type: "string", scope: "local" });
  try {
    await ask(`process-api/runtime/tasks/${task.id}`, { method: "POST",
      body: JSON.stringify({ action: "complete", variables: [local("outcome", outcome), local("opinion", opinion)] }) });
    close();
  } catch (error) {
    problem.textContent = error.status === 404 ? t("gone") : error.status ? error.message : t("away");
    problem.hidden = false;
  }
  await load();
}

function close() {
  state.chosen = null;
  $("detail").hidden = true;
  $("work").classList.remove("one");
  drawList();
}

function speak() {
  document.documentElement.lang = state.language === "zh" ? "zh-CN" : "en";
  document.title = `OA · ${t("title")}`;
  for (const node of document.querySelectorAll("[data-t]")) node.textContent = t(node.dataset.t);
  $("language").textContent = state.language === "zh" ? "EN" : "中文";
}

function tab(name) {
  state.tab = name;
  for (const one of ["open", "done"]) $(`tab-${one}`).setAttribute("aria-selected", String(one === name));
  close();
  return load();
}

$("signin").addEventListener("submit", async (event) => {
  event.preventDefault();
  state.me = $("person").value.trim();
  state.key = btoa(String.fromCharCode(...new TextEncoder().encode(`${state.me}:${$("password").value}`)));
  try {
    state.names = await ask("people");
    await load();
  } catch (error) {
    $("refused").textContent = error.status === 401 ? t("wrong") : t("away");
    $("refused").hidden = false;
    return;
  }
  $("password").value = "";
  $("who").textContent = nameOf(state.me);
  for (const [id, hidden] of [["signin", true], ["work", false], ["leave", false], ["refused", true]]) $(id).hidden = hidden;
});
$("tab-open").addEventListener("click", () => tab("open"));
$("tab-done").addEventListener("click", () => tab("done"));
$("leave").addEventListener("click", () => window.location.reload());
$("language").addEventListener("click", () => {
  state.language = state.language === "zh" ? "en" : "zh";
  speak();
  if (!$("work").hidden) { close(); }
});
speak();
setInterval(() => { if (!$("work").hidden && !state.chosen) load().catch(() => {}); }, 5000);
