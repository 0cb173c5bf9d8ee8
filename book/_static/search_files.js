// In the search page, opened as a file: Sphinx fetches the pages that it has found, to show the words
// around each match, and a browser lets no file fetch another. A script may be loaded, so all the
// pages' words come in one, and what is fetched is answered from there.
if (location.protocol === "file:") {
  const { fetch: ask, document: page } = window;
  const texts = new Promise((resolve) => {
    const script = page.createElement("script");
    script.src = new URL("search_texts.js", page.currentScript.src).href;
    script.onload = () => resolve(window.pageTexts);
    script.onerror = () => resolve({});
    page.head.append(script);
  });
  const root = new URL(page.documentElement.dataset.content_root, page.baseURI).href;
  window.fetch = async (address, ...more) => {
    const name = new URL(address, page.baseURI).href.replace(root, "").replace(/\.html$/, "");
    const known = await texts;
    return Object.hasOwn(known, name) ? new Response(known[name]) : ask(address, ...more);
  };
}
