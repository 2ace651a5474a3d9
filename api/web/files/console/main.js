// The operations console: a client of `/ops/v1`. The operator key stays in this tab.
import { Client } from "../shared/api.js";
import { frame } from "../shared/frame.js";
import { operatorKey } from "../shared/key.js";
import { askForKey } from "../shared/key_dialog.js";
import { Shell } from "./shell.js";

const enterKey = () =>
  askForKey(operatorKey, {
    heading: "Operator key",
    words:
      "A key with the scope ops:read, and ops:write to make changes. The browser deletes it when you close this tab.",
    check: (client) => client.get("/ops/v1/me"),
  });

frame({ key: operatorKey, enterKey });
const shell = new Shell({
  main: document.querySelector("#main"),
  client: new Client(operatorKey),
  key: operatorKey,
  enterKey,
});
operatorKey.addEventListener("change", () => shell.begin());
shell.begin();
