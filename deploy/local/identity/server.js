// The identity provider of the local stack: oidc-provider, the people and machines of two files, one login page.
import { generateKeyPair, randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { promisify } from "node:util";
import { Provider, interactionPolicy } from "oidc-provider";
import { asset, errorPage, login } from "./login.js";

const port = Number(process.env.PORT ?? 0);
const issuer = process.env.ISSUER ?? `http://127.0.0.1:${port}`;
const people = await entries(process.env.PEOPLE_FILE, "id");
const machines = await entries(process.env.CLIENTS_FILE, "client_id");
const cookieKeys = [randomBytes(32).toString("hex")];

const TOKEN = 300;
const WORKDAY = 8 * 3600;
const API = "urn:tonglu:api";
const WEB = {
  client_id: "tonglu-web",
  // Native, so that any loopback port may stand in the redirect (RFC 8252).
  application_type: "native",
  redirect_uris: ["http://127.0.0.1/callback"],
  grant_types: ["authorization_code", "refresh_token"],
  token_endpoint_auth_method: "none",
};

let keys = [await newKey()];
let provider = newProvider();
let handle = provider.callback();

// The new key signs; the old ones stay published, so tokens that are out stay good. Sign-ins start anew.
process.on("SIGHUP", async () => {
  keys = [await newKey(), ...keys];
  provider = newProvider();
  handle = provider.callback();
});

const server = createServer((request, response) => {
  const { pathname } = new URL(request.url, issuer);
  if (pathname === "/login.css") return asset(response);
  if (pathname.startsWith("/login/")) return login(provider, people, request, response);
  return handle(request, response);
});
process.on("SIGTERM", () => {
  server.close(() => process.exit(0));
  server.closeAllConnections();
});
server.listen(port, "127.0.0.1");

async function entries(file, key) {
  const list = file ? JSON.parse(await readFile(file, "utf8")) : [];
  return new Map(list.map((entry) => [entry[key], entry]));
}

async function newKey() {
  const { privateKey } = await promisify(generateKeyPair)("rsa", { modulusLength: 2048 });
  return { ...privateKey.export({ format: "jwk" }), use: "sig", alg: "RS256", kid: randomBytes(8).toString("hex") };
}

function newProvider() {
  return new Provider(issuer, {
    jwks: { keys },
    clients: [WEB, ...[...machines.values()].map(machine)],
    cookies: { keys: cookieKeys },
    claims: { openid: ["sub"], profile: ["name", "roles", "groups"], email: ["email"] },
    conformIdTokenClaims: false,
    pkce: { required: () => true },
    scopes: ["openid", "profile", "email"],
    responseTypes: ["code"],
    ttl: {
      AuthorizationCode: 60, Interaction: 600,
      AccessToken: TOKEN, ClientCredentials: TOKEN, IdToken: TOKEN,
      Grant: WORKDAY, RefreshToken: WORKDAY, Session: WORKDAY,
    },
    features: {
      devInteractions: { enabled: false },
      rpInitiatedLogout: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => API,
        useGrantedResource: () => true,
        getResourceServerInfo: (_, _resource, client) => ({
          audience: "tonglu-api",
          scope: machines.get(client.clientId)?.scope ?? "",
          accessTokenTTL: TOKEN,
          accessTokenFormat: "jwt",
          jwt: { sign: { alg: "RS256" } },
        }),
      },
    },
    interactions: { policy: withoutConsent(), url: (_, { uid }) => `/login/${uid}` },
    clientBasedCORS: (_, origin) => /^http:\/\/(127\.0\.0\.1|localhost)(:\d+)?$/.test(origin),
    issueRefreshToken: (_, client) => client.grantTypeAllowed("refresh_token"),
    extraTokenClaims: (_, token) => rights(people.get(token.accountId) ?? machines.get(token.clientId)),
    findAccount,
    loadExistingGrant,
    renderError: errorPage,
  });
}

function machine({ client_id, client_secret }) {
  return { client_id, client_secret, grant_types: ["client_credentials"], redirect_uris: [], response_types: [] };
}

function rights({ roles = [], groups = [] }) {
  return { roles, groups };
}

function findAccount(_, id) {
  const person = people.get(id);
  return person && { accountId: id, claims: () => ({ sub: id, name: person.name, email: person.email, ...rights(person) }) };
}

/** Native clients are asked for consent each time unless this check goes: a login page alone would loop. */
function withoutConsent() {
  const policy = interactionPolicy.base();
  policy.get("consent").checks.remove("native_client_prompt");
  return policy;
}

/** The one web client is our own: whoever signs in has agreed. */
async function loadExistingGrant({ oidc }) {
  const known = oidc.session.grantIdFor(oidc.client.clientId);
  const found = known && (await oidc.provider.Grant.find(known));
  if (found) return found;
  const grant = new oidc.provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId });
  grant.addOIDCScope("openid profile email");
  await grant.save();
  return grant;
}
