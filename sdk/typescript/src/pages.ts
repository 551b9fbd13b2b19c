/** Iterates over lists that are returned in pages. */

/** A page of a list. */
export interface Page<Item> {
  items: readonly Item[];
  /** The `cursor` of the next page; null on the last page. */
  next_cursor: string | null;
}

/**
 * Iterate over all items of a list; each page is requested when the iteration reaches it:
 * `for await (const event of iterate((query) => me.ipto.listEvents({ query })))`.
 */
export async function* iterate<Item>(
  request: (query: { cursor?: string }) => Promise<{ data: Page<Item> | { data: Page<Item> } }>,
): AsyncGenerator<Item, void, undefined> {
  let query: { cursor?: string } | undefined = {};
  while (query !== undefined) {
    const { data } = await request(query);
    // Some dialects put the response into an envelope.
    const page: Page<Item> = 'items' in data ? data : data.data;
    yield* page.items;
    query = page.next_cursor === null ? undefined : { cursor: page.next_cursor };
  }
}
