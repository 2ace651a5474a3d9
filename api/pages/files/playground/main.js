import { frame } from "../parts/frame.js";
import { Client } from "../parts/api.js";
import { askForKey } from "../parts/key_dialog.js";
import { tenantKey } from "../parts/key.js";

const enterKey = () =>
  askForKey(tenantKey, {
    heading: "Your key",
    words: "A key of a tenant, as “darkroom tenants create” or an operator gave it. It stays in this tab until you close it.",
    check: (client) => client.get("/v1/models"),
  });

frame({ key: tenantKey, enterKey });
