// A certified OpenID provider (npm oidc-provider) with login and consent forms, for one client.
// Arguments: the client as JSON, the accounts as JSON `{sub: claims}`. Prints its issuer URL when it
// serves, and ends with its stdin. It demands PKCE; who logs in as `sub` needs any password.
import { createServer } from "node:http";
import { Provider } from "oidc-provider";

const [client, accounts] = process.argv.slice(2).map((text) => JSON.parse(text));

const server = createServer();
server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [client],
    claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"] },
    pkce: { required: () => true },
    cookies: { keys: ["of a test"] },
    findAccount: (_context, sub) =>
      accounts[sub] && { accountId: sub, claims: () => ({ sub, ...accounts[sub] }) },
  });
  server.on("request", provider.callback());
  console.log(issuer);
});

process.stdin.resume();
process.stdin.on("end", () => process.exit());
