// Verifies webhooks as a receiver would: {package, messages: [{secret, body, headers}]} in; out comes
// what each told, or null where it was refused.
const { package: name, messages } = JSON.parse(await new Response(process.stdin).text());
const { Webhook, WebhookVerificationError } = await import(name);

function told({ secret, body, headers }) {
  try {
    // svix only says whether it is right
    return new Webhook(secret).verify(body, headers) ?? JSON.parse(body);
  } catch (error) {
    if (error instanceof WebhookVerificationError) return null;
    throw error;
  }
}

console.log(JSON.stringify(messages.map(told)));
