"""What GitHub knows of a repository: its numbers, its licence, and the commit that it stands at."""

from __future__ import annotations

from typing import Any

from crawl.sources.githubapi import Api

BATCH = 100
"""Repositories in one GraphQL query, which counts as one request of 5,000 an hour."""

_FACTS = """databaseId nameWithOwner url stargazerCount forkCount isFork isArchived createdAt pushedAt
licenseInfo { spdxId } defaultBranchRef { target { oid } }"""


def size(api: Api) -> int:
    """How many names ``ask`` takes at once."""
    return BATCH if api.has_tokens else 1


def ask(names: list[str], api: Api) -> dict[str, Any]:
    """By name, the facts of a repo, or None if it is gone: by GraphQL if there is a token, else by REST."""
    return _by_graphql(names, api) if api.has_tokens else {name: _of_rest(name, api) for name in names}


def _by_graphql(names: list[str], api: Api) -> dict[str, Any]:
    """A hundred repos in one request."""
    parts = [name.split("/") for name in names]
    asked = [
        f'r{n}: repository(owner: "{owner}", name: "{name}") {{ {_FACTS} }}'
        for n, (owner, name) in enumerate(parts)
    ]
    data = api.graphql("query { " + " ".join(asked) + " }")
    return {name: _of_graphql(data.get(f"r{n}")) for n, name in enumerate(names)}


def _of_graphql(node: Any) -> dict[str, Any] | None:
    if node is None:
        return None
    return {
        "id": node["databaseId"],
        "name": node["nameWithOwner"],
        "stars": node["stargazerCount"],
        "forks": node["forkCount"],
        "is_fork": node["isFork"],
        "archived": node["isArchived"],
        "created": node["createdAt"],
        "pushed": node["pushedAt"],
        "license": (node["licenseInfo"] or {}).get("spdxId"),
        "commit": ((node["defaultBranchRef"] or {}).get("target") or {}).get("oid"),
    }


def _of_rest(name: str, api: Api) -> dict[str, Any] | None:
    """Two requests a repo, which cost nothing of the limit where nothing has changed."""
    facts = api.get(f"/repos/{name}")
    if facts is None:
        return None
    commits = api.get(f"/repos/{name}/commits", per_page=1)
    return {
        "id": facts["id"],
        "name": facts["full_name"],
        "stars": facts["stargazers_count"],
        "forks": facts["forks_count"],
        "is_fork": facts["fork"],
        "archived": facts["archived"],
        "created": facts["created_at"],
        "pushed": facts["pushed_at"],
        "license": (facts["license"] or {}).get("spdx_id"),
        "commit": commits[0]["sha"] if commits else None,
    }
