// What the page embeds, and how it is unpacked.

const PAGE = JSON.parse(document.getElementById("page-data").textContent);

/** The JSON in a `<script>` block of gzip in base64, or null when there is no such block. */
async function unpack(id) {
  const block = document.getElementById(id);
  if (!block) return null;
  const bytes = Uint8Array.from(atob(block.textContent.trim()), (char) => char.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

function chip(status) {
  return el("span", { class: `chip ${status}` }, PAGE.statuses[status]);
}
